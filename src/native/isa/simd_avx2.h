// The vector vocabulary of the kernels on AVX2 with FMA and F16C: 8 lanes. See simd_scalar.h for what each word means.
#pragma once
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "isa/half.h"
#include "kernels/kernels.h"

namespace vortex::avx2 {

constexpr int LANES = 8;
constexpr int MAX_ROWS = 4;  // activation rows that share one pass over a tile
#define VORTEX_PANEL        // products go by product_panel.h
constexpr int VECTORS = 2, PANEL_ROWS = 2;  // in a panel, and activation rows that meet it at once
using V = __m256;
using VI = __m256i;
using VB = __m256i;

VORTEX_INLINE V vset(float x) { return _mm256_set1_ps(x); }
VORTEX_INLINE V vload(const float* p) { return _mm256_loadu_ps(p); }
VORTEX_INLINE void vstore(float* p, V x) { _mm256_storeu_ps(p, x); }
VORTEX_INLINE V vadd(V a, V b) { return _mm256_add_ps(a, b); }
VORTEX_INLINE V vsub(V a, V b) { return _mm256_sub_ps(a, b); }
VORTEX_INLINE V vmul(V a, V b) { return _mm256_mul_ps(a, b); }
VORTEX_INLINE V vdiv(V a, V b) { return _mm256_div_ps(a, b); }
VORTEX_INLINE V vmax(V a, V b) { return _mm256_max_ps(a, b); }
VORTEX_INLINE V vmin(V a, V b) { return _mm256_min_ps(a, b); }
VORTEX_INLINE V vfma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
VORTEX_INLINE V vround(V x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
VORTEX_INLINE V vabs(V x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
VORTEX_INLINE V vhalf(const uint16_t* p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p)); }
VORTEX_INLINE void vto_half(uint16_t* p, V x) {
  _mm_storeu_si128((__m128i*)p, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
VORTEX_INLINE V vbf16(const uint16_t* p) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p)), 16));
}
VORTEX_INLINE V vint8(const int8_t* p) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)p))); }
VORTEX_INLINE void vto_int8(int8_t* p, V x) {
  const __m256i wide = _mm256_cvtps_epi32(x);
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
  _mm_storel_epi64((__m128i*)p, _mm_packs_epi16(words, words));
}
VORTEX_INLINE int32_t sum16(const int8_t* p) {
  const __m128i bytes = _mm_xor_si128(_mm_loadu_si128((const __m128i*)p), _mm_set1_epi8((char)0x80));  // each 128 more
  const __m128i sums = _mm_sad_epu8(bytes, _mm_setzero_si128());
  return _mm_cvtsi128_si32(sums) + _mm_extract_epi16(sums, 4) - 16 * 128;
}
VORTEX_INLINE float vlargest(V x) {
  __m128 top = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  top = _mm_max_ps(top, _mm_movehl_ps(top, top));
  return _mm_cvtss_f32(_mm_max_ss(top, _mm_movehdup_ps(top)));
}
VORTEX_INLINE V vpow2(V n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
VORTEX_INLINE V vbetween(V x, int first, int end, V other) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i keep = _mm256_and_si256(_mm256_cmpgt_epi32(lane, _mm256_set1_epi32(first - 1)),
                                        _mm256_cmpgt_epi32(_mm256_set1_epi32(end), lane));
  return _mm256_blendv_ps(other, x, _mm256_castsi256_ps(keep));
}

VORTEX_INLINE VI iset(int32_t x) { return _mm256_set1_epi32(x); }
VORTEX_INLINE VI iadd(VI a, VI b) { return _mm256_add_epi32(a, b); }
template <int N> VORTEX_INLINE VI ishl(VI a) { return _mm256_slli_epi32(a, N); }
VORTEX_INLINE V vbits(VI x) { return _mm256_castsi256_ps(x); }
VORTEX_INLINE V vuint8(const uint8_t* p) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p))); }

VORTEX_INLINE void opaque(VB& x) { asm volatile("" : "+x"(x)); }
VORTEX_INLINE VB bload(const uint8_t* p) { return _mm256_loadu_si256((const __m256i*)p); }
VORTEX_INLINE VB band(VB a, uint8_t mask) { return _mm256_and_si256(a, _mm256_set1_epi8((char)mask)); }
VORTEX_INLINE VB bor(VB a, VB b) { return _mm256_or_si256(a, b); }
VORTEX_INLINE VB blookup(const uint8_t* table, VB places) {
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_load_si128((const __m128i*)table)), places);
}
template <int N> VORTEX_INLINE VB bshr(VB a) { return _mm256_srli_epi16(a, N); }
template <int N> VORTEX_INLINE VB bshl(VB a) { return _mm256_slli_epi16(a, N); }

VORTEX_INLINE VI broadcast4(const int8_t* x) {
  int32_t word;
  memcpy(&word, x, 4);
  return _mm256_set1_epi32(word);
}
VORTEX_INLINE VI qload(const int8_t* x) { return broadcast4(x); }
// Pairs of products are added in 16 bits: codes below 64 leave room (63 * 127 * 2), signed bytes too (128 * 127 * 2).
template <bool SIGNED>
VORTEX_INLINE VI qdot(VI acc, VB w, VI x) {
  const __m256i pairs = SIGNED ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w)) : _mm256_maddubs_epi16(w, x);
  return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
VORTEX_INLINE VI dot(VI acc, VB w, const int8_t* x) { return qdot<false>(acc, w, broadcast4(x)); }
VORTEX_INLINE VB bsigned(VB w) { return w; }
VORTEX_INLINE VI signed_start(const int32_t*) { return iset(MAGIC_BITS); }
VORTEX_INLINE VI dot_signed(VI acc, VB w, const int8_t* x) { return qdot<true>(acc, w, broadcast4(x)); }

}  // namespace vortex::avx2
