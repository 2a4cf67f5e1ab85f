// The vector vocabulary of the kernels in plain C++: the meaning of each word, and the path of a CPU without the rest.
//
// V: LANES floats. VI: LANES int32. VB: 4 * LANES bytes, four columns of LANES weight rows. All instruction sets
// compute the same bits: the operations are IEEE, fused multiplications are written out, integers are exact.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "isa/half.h"
#include "kernels/kernels.h"

// clang-format off: a table, one word to a line
namespace vortex::scalar {

constexpr int LANES = 16;
constexpr int MAX_ROWS = 1;  // activation rows that share one pass over a tile
struct V { float v[LANES]; };
struct VI { int32_t v[LANES]; };
struct VB { uint8_t v[4 * LANES]; };

template <class F> inline V each(F f) { V r; for (int i = 0; i < LANES; i++) r.v[i] = f(i); return r; }
template <class F> inline VI each_int(F f) { VI r; for (int i = 0; i < LANES; i++) r.v[i] = f(i); return r; }
template <class F> inline VB each_byte(F f) { VB r; for (int i = 0; i < 4 * LANES; i++) r.v[i] = (uint8_t)f(i); return r; }

inline V vset(float x) { return each([&](int) { return x; }); }
inline V vload(const float* p) { V r; memcpy(r.v, p, sizeof r.v); return r; }
inline void vstore(float* p, V x) { memcpy(p, x.v, sizeof x.v); }
inline V vadd(V a, V b) { return each([&](int i) { return a.v[i] + b.v[i]; }); }
inline V vsub(V a, V b) { return each([&](int i) { return a.v[i] - b.v[i]; }); }
inline V vmul(V a, V b) { return each([&](int i) { return a.v[i] * b.v[i]; }); }
inline V vdiv(V a, V b) { return each([&](int i) { return a.v[i] / b.v[i]; }); }
inline V vmax(V a, V b) { return each([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; }); }
inline V vmin(V a, V b) { return each([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; }); }
inline V vfma(V a, V b, V c) { return each([&](int i) { return __builtin_fmaf(a.v[i], b.v[i], c.v[i]); }); }
inline V vround(V x) { return each([&](int i) { return __builtin_nearbyintf(x.v[i]); }); }  // ties to even
inline V vabs(V x) { return each([&](int i) { return __builtin_fabsf(x.v[i]); }); }
inline uint16_t word(const uint16_t* p) { uint16_t w; memcpy(&w, p, 2); return w; }  // at any address
inline V vhalf(const uint16_t* p) { return each([&](int i) { return half_to_float(word(p + i)); }); }
inline void vto_half(uint16_t* p, V x) { for (int i = 0; i < LANES; i++) p[i] = float_to_half(x.v[i]); }
inline V vbf16(const uint16_t* p) { return each([&](int i) { return bits_to_float((uint32_t)word(p + i) << 16); }); }
inline V vint8(const int8_t* p) { return each([&](int i) { return (float)p[i]; }); }
inline void vto_int8(int8_t* p, V x) {  // rounds; |x| <= 127.5 (what is not a number becomes 0)
  for (int i = 0; i < LANES; i++) p[i] = x.v[i] == x.v[i] ? (int8_t)__builtin_nearbyintf(x.v[i]) : 0;
}
inline int32_t sum16(const int8_t* p) { int32_t sum = 0; for (int i = 0; i < 16; i++) sum += p[i]; return sum; }
inline float vlargest(V x) { float top = x.v[0]; for (int i = 1; i < LANES; i++) top = x.v[i] > top ? x.v[i] : top; return top; }
inline V vpow2(V n) { return each([&](int i) { return bits_to_float((uint32_t)((int32_t)n.v[i] + 127) << 23); }); }
inline V vbetween(V x, int first, int end, V other) {
  return each([&](int i) { return first <= i && i < end ? x.v[i] : other.v[i]; });
}

inline VI iset(int32_t x) { return each_int([&](int) { return x; }); }
// Integers wrap around, as vector instructions do.
inline VI iadd(VI a, VI b) { return each_int([&](int i) { return (int32_t)((uint32_t)a.v[i] + (uint32_t)b.v[i]); }); }
template <int N> inline VI ishl(VI a) { return each_int([&](int i) { return (int32_t)((uint32_t)a.v[i] << N); }); }
inline V vbits(VI x) { return each([&](int i) { return bits_to_float((uint32_t)x.v[i]); }); }
inline V vuint8(const uint8_t* p) { return each([&](int i) { return (float)p[i]; }); }

// Bytes. Shifts may carry between neighbouring bytes: always followed by `band` with a mask that drops what came in.
// To the compiler, x may be another value afterwards.
inline void opaque(VB& x) { asm volatile("" : "+m"(x.v)); }
inline VB bload(const uint8_t* p) { VB r; memcpy(r.v, p, sizeof r.v); return r; }
inline VB band(VB a, uint8_t mask) { return each_byte([&](int i) { return a.v[i] & mask; }); }
inline VB bor(VB a, VB b) { return each_byte([&](int i) { return a.v[i] | b.v[i]; }); }
inline VB blookup(const uint8_t* table, VB places) { return each_byte([&](int i) { return table[places.v[i]]; }); }  // places < 16
template <int N> inline VB bshr(VB a) { return each_byte([&](int i) { return a.v[i] >> N; }); }
template <int N> inline VB bshl(VB a) { return each_byte([&](int i) { return a.v[i] << N; }); }

// dot: acc[row] += sum of w[row][k] * x[k], k < 4; w unsigned below 64. dot_signed: w as int8, prepared by bsigned,
// with an accumulator begun by signed_start(MAGIC_BITS - 128 * the sum of all x that will meet it).
inline VI dot(VI acc, VB w, const int8_t* x) {
  return each_int([&](int i) {
    int32_t sum = acc.v[i];
    for (int k = 0; k < 4; k++) sum += (int32_t)w.v[4 * i + k] * x[k];
    return sum;
  });
}
inline VB bsigned(VB w) { return w; }
inline VI signed_start(const int32_t*) { return iset(MAGIC_BITS); }
inline VI dot_signed(VI acc, VB w, const int8_t* x) {
  return each_int([&](int i) {
    int32_t sum = acc.v[i];
    for (int k = 0; k < 4; k++) sum += (int32_t)(int8_t)w.v[4 * i + k] * x[k];
    return sum;
  });
}

}  // namespace vortex::scalar
