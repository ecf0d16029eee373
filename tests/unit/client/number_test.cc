// SPDX-License-Identifier: Apache-2.0
#include "client/cli/number.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>

#include "lossd/tensor.h"

namespace lossd::cli {
namespace {

using ::testing::ElementsAre;

TEST(NumberTest, NumbersAreAsShortAsTheirTypeAllows) {
  EXPECT_EQ(FormatNumber(0.1f), "0.1");
  EXPECT_EQ(FormatNumber(0.1), "0.1");
  EXPECT_EQ(FormatNumber(static_cast<double>(0.1f)), "0.10000000149011612");
  EXPECT_EQ(FormatNumber(3.0f), "3");
  EXPECT_EQ(FormatNumber(-0.0), "-0");
  EXPECT_EQ(FormatNumber(1e-7f), "1e-07");
}

TEST(NumberTest, WhatIsNotFiniteHasAName) {
  EXPECT_EQ(FormatNumber(std::numeric_limits<float>::quiet_NaN()), "NaN");
  EXPECT_EQ(FormatNumber(std::numeric_limits<double>::infinity()), "Infinity");
  EXPECT_EQ(FormatNumber(-std::numeric_limits<double>::infinity()),
            "-Infinity");
  EXPECT_EQ(FormatBrief(std::nan("")), "NaN");
}

TEST(NumberTest, EveryFloatReadsBackTheSame) {
  constexpr uint64_t kSeed = 20240711;
  SCOPED_TRACE(kSeed);
  std::mt19937_64 random(kSeed);
  for (int i = 0; i < 100'000; ++i) {
    const auto single = std::bit_cast<float>(static_cast<uint32_t>(random()));
    const auto wide = std::bit_cast<double>(static_cast<uint64_t>(random()));
    if (std::isfinite(single)) {
      ASSERT_EQ(std::strtof(FormatNumber(single).c_str(), nullptr), single);
    }
    if (std::isfinite(wide)) {
      ASSERT_EQ(std::strtod(FormatNumber(wide).c_str(), nullptr), wide);
    }
  }
}

TEST(NumberTest, BriefNumbersHaveFourDecimalsUnlessThatHidesThem) {
  EXPECT_EQ(FormatBrief(0.23456), "0.2346");
  EXPECT_EQ(FormatBrief(0), "0.0000");
  EXPECT_EQ(FormatBrief(-12.5), "-12.5000");
  EXPECT_EQ(FormatBrief(1.25e-5), "1.250e-05");
  EXPECT_EQ(FormatBrief(1.25e9), "1.250e+09");
}

TEST(NumberTest, ElementsAreFormattedByTheirDtype) {
  EXPECT_THAT(*FormatElements(MakeTensor<float>({0.1f, 2}, {2})),
              ElementsAre("0.1", "2"));
  EXPECT_THAT(*FormatElements(MakeTensor<int64_t>({9007199254740993}, {1})),
              ElementsAre("9007199254740993"));
  EXPECT_THAT(*FormatElements(MakeTensor<Float16>({ToFloat16(0.5)}, {1})),
              ElementsAre("0.5"));
  EXPECT_FALSE(FormatElements(MakeTensor<float>({1}, {2})).ok());
  EXPECT_FALSE(FormatElements(v1::Tensor()).ok());
}

TEST(NumberTest, OnlyNumbersAreRead) {
  EXPECT_EQ(ParseDouble("-1.5e3"), -1500);
  EXPECT_TRUE(std::isnan(*ParseDouble("NaN")));
  EXPECT_EQ(ParseDouble("-Infinity"), -std::numeric_limits<double>::infinity());
  for (const char* bad : {"", " 1", "1 ", "1,5", "0x10", "one", "1e", "--1"}) {
    EXPECT_FALSE(ParseDouble(bad).has_value()) << bad;
  }
  EXPECT_EQ(ParseInteger("-9223372036854775808"),
            std::numeric_limits<int64_t>::min());
  for (const char* bad : {"", "1.0", "9223372036854775808", "1e3", " 1"}) {
    EXPECT_FALSE(ParseInteger(bad).has_value()) << bad;
  }
}

}  // namespace
}  // namespace lossd::cli
