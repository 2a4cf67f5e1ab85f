// IEEE half precision in plain integers: exact to float, round to nearest even from float, as the hardware does.
#pragma once
#include <bit>
#include <cstdint>

// Small functions in loops that must not become calls.
#ifndef VORTEX_INLINE
#define VORTEX_INLINE __attribute__((always_inline)) inline
#endif

namespace vortex {

static inline float bits_to_float(uint32_t bits) { return std::bit_cast<float>(bits); }

static inline float half_to_float(uint16_t h) {
  const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 1023;
  if (exponent == 31) return bits_to_float(sign | 0x7f800000 | mantissa << 13 | (mantissa ? 0x400000 : 0));
  if (exponent) return bits_to_float(sign | (exponent + 112) << 23 | mantissa << 13);
  const float tiny = (float)mantissa * 0x1p-24f;
  return sign ? -tiny : tiny;
}

static inline uint16_t float_to_half(float f) {
  const uint32_t bits = std::bit_cast<uint32_t>(f), magnitude = bits & 0x7fffffff;
  const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
  if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
  if (magnitude >= 0x477ff000) return sign | 0x7c00;  // 65520 and above round to infinity
  if (magnitude < 0x38800000) {                       // subnormal: let the float addition round
    const float shifted = bits_to_float(magnitude) + 0.5f;
    return (uint16_t)(sign | (uint16_t)(std::bit_cast<uint32_t>(shifted) - 0x3f000000));
  }
  const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return (uint16_t)(sign | (uint16_t)((rounded - 0x38000000) >> 13));
}

}  // namespace vortex
