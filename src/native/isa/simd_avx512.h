// The vector vocabulary of the kernels on AVX-512 with VNNI: 16 lanes. See simd_scalar.h for what each word means.
#pragma once
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "isa/half.h"
#include "kernels/kernels.h"

namespace vortex::avx512 {

constexpr int LANES = 16;
constexpr int MAX_ROWS = 8;  // activation rows that share one pass over a tile
#define VORTEX_PANEL        // products go by product_panel.h
constexpr int VECTORS = 2, PANEL_ROWS = 6;  // in a panel, and activation rows that meet it at once
using V = __m512;
using VI = __m512i;
using VB = __m512i;

VORTEX_INLINE V vset(float x) { return _mm512_set1_ps(x); }
VORTEX_INLINE V vload(const float* p) { return _mm512_loadu_ps(p); }
VORTEX_INLINE void vstore(float* p, V x) { _mm512_storeu_ps(p, x); }
VORTEX_INLINE V vadd(V a, V b) { return _mm512_add_ps(a, b); }
VORTEX_INLINE V vsub(V a, V b) { return _mm512_sub_ps(a, b); }
VORTEX_INLINE V vmul(V a, V b) { return _mm512_mul_ps(a, b); }
VORTEX_INLINE V vdiv(V a, V b) { return _mm512_div_ps(a, b); }
VORTEX_INLINE V vmax(V a, V b) { return _mm512_max_ps(a, b); }
VORTEX_INLINE V vmin(V a, V b) { return _mm512_min_ps(a, b); }
VORTEX_INLINE V vfma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
VORTEX_INLINE V vround(V x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
VORTEX_INLINE V vabs(V x) { return _mm512_abs_ps(x); }
VORTEX_INLINE V vhalf(const uint16_t* p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p)); }
VORTEX_INLINE void vto_half(uint16_t* p, V x) {
  _mm256_storeu_si256((__m256i*)p, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
VORTEX_INLINE V vbf16(const uint16_t* p) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p)), 16));
}
VORTEX_INLINE V vint8(const int8_t* p) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)p))); }
VORTEX_INLINE void vto_int8(int8_t* p, V x) { _mm_storeu_si128((__m128i*)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x))); }
VORTEX_INLINE int32_t sum16(const int8_t* p) {
  const __m128i bytes = _mm_xor_si128(_mm_loadu_si128((const __m128i*)p), _mm_set1_epi8((char)0x80));  // each 128 more
  const __m128i sums = _mm_sad_epu8(bytes, _mm_setzero_si128());
  return _mm_cvtsi128_si32(sums) + _mm_extract_epi16(sums, 4) - 16 * 128;
}
VORTEX_INLINE float vlargest(V x) { return _mm512_reduce_max_ps(x); }
VORTEX_INLINE V vpow2(V n) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23));
}
VORTEX_INLINE V vbetween(V x, int first, int end, V other) {  // lanes first <= i < end keep x
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __mmask16 keep = _mm512_cmpge_epi32_mask(lane, _mm512_set1_epi32(first)) &
                         _mm512_cmplt_epi32_mask(lane, _mm512_set1_epi32(end));
  return _mm512_mask_blend_ps(keep, other, x);
}

VORTEX_INLINE VI iset(int32_t x) { return _mm512_set1_epi32(x); }
VORTEX_INLINE VI iadd(VI a, VI b) { return _mm512_add_epi32(a, b); }
template <int N> VORTEX_INLINE VI ishl(VI a) { return _mm512_slli_epi32(a, N); }
VORTEX_INLINE V vbits(VI x) { return _mm512_castsi512_ps(x); }
VORTEX_INLINE V vuint8(const uint8_t* p) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p))); }

VORTEX_INLINE void opaque(VB& x) { asm volatile("" : "+v"(x)); }
VORTEX_INLINE VB bload(const uint8_t* p) { return _mm512_loadu_si512(p); }
VORTEX_INLINE VB band(VB a, uint8_t mask) { return _mm512_and_si512(a, _mm512_set1_epi8((char)mask)); }
VORTEX_INLINE VB bor(VB a, VB b) { return _mm512_or_si512(a, b); }
VORTEX_INLINE VB blookup(const uint8_t* table, VB places) {
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_load_si128((const __m128i*)table)), places);
}
template <int N> VORTEX_INLINE VB bshr(VB a) { return _mm512_srli_epi16(a, N); }
template <int N> VORTEX_INLINE VB bshl(VB a) { return _mm512_slli_epi16(a, N); }

// One word of activations for several dots: codes as `bsigned` and `unpack` leave them.
VORTEX_INLINE VI qload(const int8_t* x) {
  int32_t word;
  memcpy(&word, x, 4);
  return _mm512_set1_epi32(word);
}
template <bool SIGNED> VORTEX_INLINE VI qdot(VI acc, VB w, VI x) { return _mm512_dpbusd_epi32(acc, w, x); }
// In assembly, since compilers load the broadcast by an instruction of its own: half as many again in this loop.
VORTEX_INLINE VI dot(VI acc, VB w, const int8_t* x) {
  asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(w), "m"(*(const int8_t(*)[4])x));
  return acc;
}
// Signed weights: the instruction wants unsigned ones, so 128 is added and taken back through `signed_start`.
VORTEX_INLINE VB bsigned(VB w) { return _mm512_xor_si512(w, _mm512_set1_epi8((char)0x80)); }
VORTEX_INLINE VI signed_start(const int32_t* begin128) { return _mm512_set1_epi32(*begin128); }
VORTEX_INLINE VI dot_signed(VI acc, VB w, const int8_t* x) { return dot(acc, w, x); }

}  // namespace vortex::avx512
