// bfloat16 from three planes (docs/c3.md, codec `bf16e3`). Included once per instruction set.
//
// n weights, n a multiple of 64. `rest`: sign and mantissa, a byte each. `codes`: per 64 weights three words of 64 bits,
// bit i of word k is bit k of weight i's code. A code below 7 is the distance of the exponent below `top`; code 7 says
// that the next of `escapes` is the exponent. Returns how many escapes were used; never reads more than there are.
namespace vortex::VORTEX_ISA {

VORTEX_INLINE uint16_t joined(uint8_t rest, uint8_t exponent) {
  return (uint16_t)((rest & 0x80) << 8 | exponent << 7 | (rest & 0x7F));
}

static int64_t decode_bf16e3(const uint8_t* rest, const uint8_t* codes, uint8_t top, const uint8_t* escapes,
                             int64_t num_escapes, int64_t n, uint16_t* out) {
  int64_t used = 0;
  for (int64_t i = 0; i < n; i += 64) {
    uint64_t bits[3];
    memcpy(bits, codes + i / 64 * 24, 24);
    uint16_t* y = out + i;
#ifdef VORTEX_MASKS
    __m512i exponent = _mm512_set1_epi8((char)top);
    exponent = _mm512_mask_sub_epi8(exponent, bits[0], exponent, _mm512_set1_epi8(1));
    exponent = _mm512_mask_sub_epi8(exponent, bits[1], exponent, _mm512_set1_epi8(2));
    exponent = _mm512_mask_sub_epi8(exponent, bits[2], exponent, _mm512_set1_epi8(4));
    const __m512i r = _mm512_loadu_si512(rest + i);
    for (int half = 0; half < 2; half++) {
      const __m256i e8 = half ? _mm512_extracti64x4_epi64(exponent, 1) : _mm512_castsi512_si256(exponent);
      const __m256i r8 = half ? _mm512_extracti64x4_epi64(r, 1) : _mm512_castsi512_si256(r);
      const __m512i e = _mm512_slli_epi16(_mm512_cvtepu8_epi16(e8), 7), s = _mm512_cvtepu8_epi16(r8);
      const __m512i sign = _mm512_slli_epi16(_mm512_and_si512(s, _mm512_set1_epi16(0x80)), 8);
      const __m512i mantissa = _mm512_and_si512(s, _mm512_set1_epi16(0x7F));
      _mm512_storeu_si512(y + 32 * half, _mm512_or_si512(_mm512_or_si512(sign, mantissa), e));
    }
#else
    for (int j = 0; j < 64; j++) {
      const int code = (int)(bits[0] >> j & 1) | (int)(bits[1] >> j & 1) << 1 | (int)(bits[2] >> j & 1) << 2;
      y[j] = joined(rest[i + j], (uint8_t)(top - code));
    }
#endif
    for (uint64_t left = bits[0] & bits[1] & bits[2]; left; left &= left - 1) {
      const int j = __builtin_ctzll(left);
      if (used < num_escapes) y[j] = joined(rest[i + j], escapes[used]);
      used++;
    }
  }
  return used;
}

}  // namespace vortex::VORTEX_ISA
