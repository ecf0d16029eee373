// SPDX-License-Identifier: Apache-2.0
//
// The layout of IEEE 754 numbers, for arithmetic on their bits.

#ifndef LOSSD_SERVER_KERNELS_FLOAT_BITS_H_
#define LOSSD_SERVER_KERNELS_FLOAT_BITS_H_

#include <cstdint>

namespace lossd {

template <class T>
struct FloatBits;

template <>
struct FloatBits<float> {
  using Unsigned = uint32_t;
  static constexpr int kMantissa = 23;
  static constexpr Unsigned kBias = 127;
  static constexpr Unsigned kOne = 0x3f800000;
  static constexpr Unsigned kHalfRoot = 0x3f3504f3;  // sqrt(1/2)
  static constexpr Unsigned kMagic = 0x4b400000;     // 1.5 * 2^23
};

template <>
struct FloatBits<double> {
  using Unsigned = uint64_t;
  static constexpr int kMantissa = 52;
  static constexpr Unsigned kBias = 1023;
  static constexpr Unsigned kOne = 0x3ff0000000000000;
  static constexpr Unsigned kHalfRoot = 0x3fe6a09e667f3bcd;  // sqrt(1/2)
  static constexpr Unsigned kMagic = 0x4338000000000000;     // 1.5 * 2^52
};

}  // namespace lossd

#endif  // LOSSD_SERVER_KERNELS_FLOAT_BITS_H_
