// SPDX-License-Identifier: Apache-2.0
#include "lossd/float16.h"

#include <bit>
#include <cmath>

namespace lossd {
namespace {

// A binary format with 1 sign bit, `16 - 1 - mantissa` exponent bits and
// `mantissa` stored bits.
struct Format {
  int mantissa;
  int bias;
};

constexpr Format kFloat16 = {.mantissa = 10, .bias = 15};
constexpr Format kBFloat16 = {.mantissa = 7, .bias = 127};

uint16_t Round(double value, Format format) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const uint16_t infinity = 0x7fff >> format.mantissa << format.mantissa;
  if (std::isnan(value)) {
    return sign | infinity | (1 << (format.mantissa - 1));
  }
  const double magnitude = std::fabs(value);
  const int least_exponent = 1 - format.bias;
  int exponent = magnitude == 0 ? least_exponent : std::ilogb(magnitude);
  if (exponent > format.bias) return sign | infinity;
  if (exponent < least_exponent) exponent = least_exponent;
  // The number in units of its last place: scaling by a power of two is exact,
  // and nearbyint rounds ties to even. A carry out of the mantissa lands in
  // the exponent field, where it belongs, and past the last one at infinity.
  const int units = static_cast<int>(
      std::nearbyint(std::ldexp(magnitude, format.mantissa - exponent)));
  const int bits = ((exponent - least_exponent) << format.mantissa) + units;
  return sign | static_cast<uint16_t>(bits);
}

}  // namespace

Float16 ToFloat16(double value) { return Float16{Round(value, kFloat16)}; }

BFloat16 ToBFloat16(double value) { return BFloat16{Round(value, kBFloat16)}; }

float ToFloat(Float16 value) {
  const auto bits = static_cast<uint32_t>(value);
  const uint32_t sign = (bits & 0x8000) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1f;
  const uint32_t mantissa = bits & 0x3ff;
  if (exponent == 0x1f) {
    return std::bit_cast<float>(sign | 0x7f800000 | (mantissa << 13));
  }
  if (exponent == 0) {
    const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
    return sign != 0 ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) |
                              (mantissa << 13));
}

float ToFloat(BFloat16 value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value) << 16);
}

}  // namespace lossd
