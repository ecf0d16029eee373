// SPDX-License-Identifier: Apache-2.0
//
// The conversions against a plain search in the table of all values, for both
// half types.

#include "server/base/half.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "gtest/gtest.h"

namespace lossd {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <class H>
struct Format;
template <>
struct Format<Float16> {
  static constexpr int kMantissa = 10;
  static constexpr int kBias = 15;
  static constexpr uint16_t kNan = 0x7e00;
  static constexpr uint16_t kInfinityBits = 0x7c00;
  static constexpr double kBeyond = 0x1p16;  // the value after the largest
  static Float16 From(float x) { return ToFloat16(x); }
  static Float16 From(double x) { return ToFloat16(x); }
};
template <>
struct Format<Bfloat16> {
  static constexpr int kMantissa = 7;
  static constexpr int kBias = 127;
  static constexpr uint16_t kNan = 0x7fc0;
  static constexpr uint16_t kInfinityBits = 0x7f80;
  static constexpr double kBeyond = 0x1p128;
  static Bfloat16 From(float x) { return ToBfloat16(x); }
  static Bfloat16 From(double x) { return ToBfloat16(x); }
};

// What the bits mean, by IEEE 754's definition.
template <class H>
double Decode(uint16_t bits) {
  using F = Format<H>;
  const int mantissa = bits & ((1 << F::kMantissa) - 1);
  const int exponent = (bits & 0x7fff) >> F::kMantissa;
  const double sign = bits & 0x8000 ? -1.0 : 1.0;
  if (exponent == 2 * F::kBias + 1) return mantissa ? NAN : sign * kInfinity;
  const int implicit = exponent == 0 ? 0 : 1 << F::kMantissa;
  const int scale = (exponent == 0 ? 1 : exponent) - F::kBias - F::kMantissa;
  return sign * std::ldexp(mantissa + implicit, scale);
}

// The finite values that are not negative, by their bits, and the one beyond.
template <class H>
const std::vector<double>& Values() {
  static const std::vector<double>* const values = [] {
    auto* all = new std::vector<double>;
    for (int bits = 0; bits < Format<H>::kInfinityBits; ++bits) {
      all->push_back(Decode<H>(static_cast<uint16_t>(bits)));
    }
    all->push_back(Format<H>::kBeyond);
    return all;
  }();
  return *values;
}

// The bits of the nearest value, ties to even.
template <class H>
uint16_t Nearest(double x) {
  const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  const double magnitude = std::abs(x);
  const std::vector<double>& values = Values<H>();
  const auto above = std::upper_bound(values.begin(), values.end(), magnitude);
  size_t bits = static_cast<size_t>(above - values.begin()) - 1;
  if (bits + 1 < values.size()) {
    const double middle = (values[bits] + values[bits + 1]) / 2;
    if (magnitude > middle || (magnitude == middle && bits % 2 == 1)) ++bits;
  }
  return static_cast<uint16_t>(sign | bits);
}

template <class H>
class HalfTest : public testing::Test {
 protected:
  // Both signs of one value, from double and, where it is one, from float.
  static void ExpectNearest(double x) {
    for (const double value : {x, -x}) {
      ASSERT_EQ(Format<H>::From(value).bits, Nearest<H>(value)) << value;
      const float f = static_cast<float>(value);
      if (static_cast<double>(f) != value) continue;
      ASSERT_EQ(Format<H>::From(f).bits, Nearest<H>(value)) << value;
    }
  }
};

using Halves = testing::Types<Float16, Bfloat16>;
TYPED_TEST_SUITE(HalfTest, Halves);

TYPED_TEST(HalfTest, EveryBitPatternWidensExactlyAndComesBack) {
  for (int i = 0; i <= 0xffff; ++i) {
    const TypeParam half = {static_cast<uint16_t>(i)};
    const float value = ToFloat(half);
    const double expected = Decode<TypeParam>(half.bits);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(value)) << i;
      ASSERT_EQ(Format<TypeParam>::From(value).bits, Format<TypeParam>::kNan);
      continue;
    }
    ASSERT_EQ(static_cast<double>(value), expected) << i;
    ASSERT_EQ(std::signbit(value), i >= 0x8000) << i;
    ASSERT_EQ(Format<TypeParam>::From(value).bits, half.bits);
    ASSERT_EQ(Format<TypeParam>::From(static_cast<double>(value)).bits,
              half.bits);
  }
}

TYPED_TEST(HalfTest, TiesGoToEvenAndTheirNeighboursToTheNearest) {
  const std::vector<double>& values = Values<TypeParam>();
  for (size_t i = 0; i + 1 < values.size(); ++i) {
    const double middle = (values[i] + values[i + 1]) / 2;
    const float f = static_cast<float>(middle);
    ASSERT_EQ(static_cast<double>(f), middle);
    this->ExpectNearest(middle);
    this->ExpectNearest(std::nextafter(f, 0.0f));
    this->ExpectNearest(std::nextafter(f, INFINITY));
    if (this->HasFatalFailure()) return;
  }
}

// One bit of double beside a tie rounds to the tie as a float.
TYPED_TEST(HalfTest, FromDoubleRoundsOnce) {
  const std::vector<double>& values = Values<TypeParam>();
  for (size_t i = 0; i + 1 < values.size(); ++i) {
    const double middle = (values[i] + values[i + 1]) / 2;
    const double below = std::nextafter(middle, 0.0);
    const double above = std::nextafter(middle, kInfinity);
    ASSERT_EQ(static_cast<float>(above), static_cast<float>(below));
    ASSERT_NE(Nearest<TypeParam>(above), Nearest<TypeParam>(below));
    this->ExpectNearest(below);
    this->ExpectNearest(above);
    if (this->HasFatalFailure()) return;
  }
}

TYPED_TEST(HalfTest, OverflowGivesInfinityFromTheTieOn) {
  using F = Format<TypeParam>;
  const double largest = Values<TypeParam>()[F::kInfinityBits - 1];
  const double tie = (largest + F::kBeyond) / 2;
  EXPECT_EQ(F::From(tie).bits, F::kInfinityBits);
  EXPECT_EQ(F::From(-tie).bits, F::kInfinityBits | 0x8000);
  EXPECT_EQ(F::From(std::nextafter(tie, 0.0)).bits, F::kInfinityBits - 1);
  for (const double huge : {F::kBeyond, 1e39, 1e300, DBL_MAX, kInfinity}) {
    EXPECT_EQ(F::From(huge).bits, F::kInfinityBits) << huge;
    EXPECT_EQ(F::From(-huge).bits, F::kInfinityBits | 0x8000) << huge;
  }
  EXPECT_EQ(F::From(INFINITY).bits, F::kInfinityBits);
  EXPECT_EQ(F::From(-INFINITY).bits, F::kInfinityBits | 0x8000);
}

TYPED_TEST(HalfTest, WhatIsTooSmallBecomesZeroOfItsSign) {
  using F = Format<TypeParam>;
  const double tie = Values<TypeParam>()[1] / 2;
  EXPECT_EQ(F::From(tie).bits, 0);
  EXPECT_EQ(F::From(-tie).bits, 0x8000);
  EXPECT_EQ(F::From(std::nextafter(tie, 1.0)).bits, 1);
  EXPECT_EQ(F::From(-std::nextafter(tie, 1.0)).bits, 0x8001);
  for (const double tiny : {0.0, DBL_TRUE_MIN, DBL_MIN, 1e-300, 1e-46}) {
    EXPECT_EQ(F::From(tiny).bits, 0) << tiny;
    EXPECT_EQ(F::From(-tiny).bits, 0x8000) << tiny;
  }
  EXPECT_EQ(F::From(-0.0f).bits, 0x8000);
}

TYPED_TEST(HalfTest, NanBecomesTheCanonicalNanWhateverItsSignAndPayload) {
  using F = Format<TypeParam>;
  for (const uint32_t bits : {0x7fc00000u, 0xffc00000u, 0x7f800001u,
                              0xffffffffu, 0x7fa00000u, 0x7fbfffffu}) {
    EXPECT_EQ(F::From(std::bit_cast<float>(bits)).bits, F::kNan) << bits;
  }
  for (const uint64_t bits : {uint64_t{0x7ff8000000000000},
                              uint64_t{0x7ff0000000000001}, ~uint64_t{0}}) {
    EXPECT_EQ(F::From(std::bit_cast<double>(bits)).bits, F::kNan) << bits;
  }
}

TYPED_TEST(HalfTest, RandomNumbersOfEveryMagnitudeRoundToTheNearest) {
  const auto seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 200000; ++i) {
    const double x = std::bit_cast<double>(random());
    if (!std::isnan(x)) this->ExpectNearest(x);
    const float f = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (!std::isnan(f)) this->ExpectNearest(f);
    const double near = std::ldexp(static_cast<double>(random()),
                                   static_cast<int>(random() % 300) - 220);
    this->ExpectNearest(near);
    if (this->HasFatalFailure()) return;
  }
}

TEST(RoundToOddTest, KeepsWhatIsExactAndSetsTheLastBitOfWhatIsNot) {
  EXPECT_EQ(RoundToOdd(1.0), 1.0f);
  EXPECT_EQ(RoundToOdd(-0x1.8p-149 / 1.5), -0x1p-149f);
  EXPECT_EQ(RoundToOdd(1.0 + 0x1p-40), std::nextafter(1.0f, 2.0f));
  EXPECT_EQ(RoundToOdd(1.0 - 0x1p-40), std::nextafter(1.0f, 0.0f));
  EXPECT_EQ(RoundToOdd(-1.0 - 0x1p-40), std::nextafter(-1.0f, -2.0f));
  EXPECT_EQ(RoundToOdd(1e300), FLT_MAX);
  EXPECT_EQ(RoundToOdd(-1e300), -FLT_MAX);
  EXPECT_EQ(RoundToOdd(-1e-300), -FLT_TRUE_MIN);
  EXPECT_EQ(RoundToOdd(kInfinity), INFINITY);
}

}  // namespace
}  // namespace lossd
