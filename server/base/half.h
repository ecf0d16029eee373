// SPDX-License-Identifier: Apache-2.0
//
// Conversions between the half types and the types that are computed with.
// Widening is exact. Narrowing rounds once, to nearest, ties to even, from
// float and from double alike; overflow gives infinity, and NaN stays NaN
// (canonical, positive, quiet).

#ifndef LOSSD_SERVER_BASE_HALF_H_
#define LOSSD_SERVER_BASE_HALF_H_

#include <bit>
#include <cstdint>

#include "server/base/dtype.h"

namespace lossd {

constexpr float ToFloat(Bfloat16 h) {
  return std::bit_cast<float>(static_cast<uint32_t>(h.bits) << 16);
}

constexpr float ToFloat(Float16 h) {
  const uint32_t sign = static_cast<uint32_t>(h.bits & 0x8000u) << 16;
  const uint32_t magnitude = static_cast<uint32_t>(h.bits & 0x7fffu) << 13;
  // Multiplying by 2^112 moves the exponent's bias and makes subnormals
  // normal; infinity and NaN need their exponent set by hand.
  const float scaled =
      std::bit_cast<float>(magnitude) * std::bit_cast<float>(0x77800000u);
  const uint32_t special = magnitude >= 0x0f800000u ? 0x7f800000u : 0u;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(scaled) | special | sign);
}

constexpr Bfloat16 ToBfloat16(float f) {
  if (f != f) return {0x7fc0};
  const uint32_t bits = std::bit_cast<uint32_t>(f);
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

constexpr Float16 ToFloat16(float f) {
  if (f != f) return {0x7e00};
  const uint32_t bits = std::bit_cast<uint32_t>(f);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  // 65520 and above round to infinity.
  if (magnitude >= 0x477ff000u) return {static_cast<uint16_t>(sign | 0x7c00u)};
  if (magnitude < 0x38800000u) {
    // Below 2^-14: adding 0.5 aligns the bits of a subnormal with the end of
    // the significand, and the addition rounds.
    const float aligned = std::bit_cast<float>(magnitude) + 0.5f;
    return {static_cast<uint16_t>(
        sign | (std::bit_cast<uint32_t>(aligned) - 0x3f000000u))};
  }
  const uint32_t rounded =
      magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u;
  return {static_cast<uint16_t>(sign | (rounded >> 13))};
}

// The nearest float towards zero, with its last bit set if anything was lost
// ("round to odd"): a second rounding to a narrower type is then exact.
constexpr float RoundToOdd(double d) {
  const float f = static_cast<float>(d);
  if (static_cast<double>(f) == d || f != f) return f;
  uint32_t bits = std::bit_cast<uint32_t>(f);
  const double magnitude = d < 0 ? -d : d;
  const double float_magnitude = f < 0 ? -static_cast<double>(f) : f;
  if (float_magnitude > magnitude) --bits;
  return std::bit_cast<float>(bits | 1u);
}

constexpr Bfloat16 ToBfloat16(double d) { return ToBfloat16(RoundToOdd(d)); }
constexpr Float16 ToFloat16(double d) { return ToFloat16(RoundToOdd(d)); }

}  // namespace lossd

#endif  // LOSSD_SERVER_BASE_HALF_H_
