// The vector vocabulary of the kernels on ARMv8.2 with dot product: 4 lanes. See simd_scalar.h for what each word means.
// Written from the architecture's manual and not yet run on such a machine.
#pragma once
#include <arm_neon.h>

#include <cstdint>
#include <cstring>

#include "isa/half.h"
#include "kernels/kernels.h"

namespace vortex::neon {

constexpr int LANES = 4;
constexpr int MAX_ROWS = 8;  // activation rows that share one pass over a tile
using V = float32x4_t;
using VI = int32x4_t;
using VB = uint8x16_t;

VORTEX_INLINE V vset(float x) { return vdupq_n_f32(x); }
VORTEX_INLINE V vload(const float* p) { return vld1q_f32(p); }
VORTEX_INLINE void vstore(float* p, V x) { vst1q_f32(p, x); }
VORTEX_INLINE V vadd(V a, V b) { return vaddq_f32(a, b); }
VORTEX_INLINE V vsub(V a, V b) { return vsubq_f32(a, b); }
VORTEX_INLINE V vmul(V a, V b) { return vmulq_f32(a, b); }
VORTEX_INLINE V vdiv(V a, V b) { return vdivq_f32(a, b); }
VORTEX_INLINE V vmax(V a, V b) { return vmaxq_f32(a, b); }
VORTEX_INLINE V vmin(V a, V b) { return vminq_f32(a, b); }
VORTEX_INLINE V vfma(V a, V b, V c) { return vfmaq_f32(c, a, b); }
VORTEX_INLINE V vround(V x) { return vrndnq_f32(x); }
VORTEX_INLINE V vabs(V x) { return vabsq_f32(x); }
VORTEX_INLINE V vhalf(const uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
VORTEX_INLINE void vto_half(uint16_t* p, V x) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(x))); }
VORTEX_INLINE V vbf16(const uint16_t* p) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16)); }
VORTEX_INLINE int32x4_t widen4(const int8_t* p) {
  int32_t word;
  memcpy(&word, p, 4);
  return vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(word)))));
}
VORTEX_INLINE V vint8(const int8_t* p) { return vcvtq_f32_s32(widen4(p)); }
VORTEX_INLINE void vto_int8(int8_t* p, V x) {
  const int16x4_t words = vqmovn_s32(vcvtnq_s32_f32(x));
  const int8x8_t bytes = vqmovn_s16(vcombine_s16(words, words));
  const int32_t word = vget_lane_s32(vreinterpret_s32_s8(bytes), 0);
  memcpy(p, &word, 4);
}
VORTEX_INLINE int32_t sum16(const int8_t* p) { return vaddlvq_s8(vld1q_s8(p)); }
VORTEX_INLINE float vlargest(V x) { return vmaxvq_f32(x); }
VORTEX_INLINE V vpow2(V n) { return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127)), 23)); }
VORTEX_INLINE V vbetween(V x, int first, int end, V other) {
  static const int32_t lanes[4] = {0, 1, 2, 3};
  const int32x4_t lane = vld1q_s32(lanes);
  return vbslq_f32(vandq_u32(vcgeq_s32(lane, vdupq_n_s32(first)), vcltq_s32(lane, vdupq_n_s32(end))), x, other);
}

VORTEX_INLINE VI iset(int32_t x) { return vdupq_n_s32(x); }
VORTEX_INLINE VI iadd(VI a, VI b) { return vaddq_s32(a, b); }
template <int N> VORTEX_INLINE VI ishl(VI a) { return vshlq_n_s32(a, N); }
VORTEX_INLINE V vbits(VI x) { return vreinterpretq_f32_s32(x); }
VORTEX_INLINE V vuint8(const uint8_t* p) {
  return vcvtq_f32_s32(vandq_s32(widen4((const int8_t*)p), vdupq_n_s32(255)));
}

VORTEX_INLINE void opaque(VB& x) { asm volatile("" : "+w"(x)); }
VORTEX_INLINE VB bload(const uint8_t* p) { return vld1q_u8(p); }
VORTEX_INLINE VB band(VB a, uint8_t mask) { return vandq_u8(a, vdupq_n_u8(mask)); }
VORTEX_INLINE VB bor(VB a, VB b) { return vorrq_u8(a, b); }
VORTEX_INLINE VB blookup(const uint8_t* table, VB places) { return vqtbl1q_u8(vld1q_u8(table), places); }
template <int N> VORTEX_INLINE VB bshr(VB a) { return vshrq_n_u8(a, N); }
template <> VORTEX_INLINE VB bshr<0>(VB a) { return a; }
template <int N> VORTEX_INLINE VB bshl(VB a) { return vshlq_n_u8(a, N); }

VORTEX_INLINE int8x16_t broadcast4(const int8_t* x) {
  int32_t word;
  memcpy(&word, x, 4);
  return vreinterpretq_s8_s32(vdupq_n_s32(word));
}
VORTEX_INLINE VI dot(VI acc, VB w, const int8_t* x) { return vdotq_s32(acc, vreinterpretq_s8_u8(w), broadcast4(x)); }
VORTEX_INLINE VB bsigned(VB w) { return w; }
VORTEX_INLINE VI signed_start(const int32_t*) { return iset(MAGIC_BITS); }
VORTEX_INLINE VI dot_signed(VI acc, VB w, const int8_t* x) { return dot(acc, w, x); }

}  // namespace vortex::neon
