// SPDX-License-Identifier: Apache-2.0
//
// The order of the header's comment, written down a second time.

#include "server/base/ordered_sum.h"

#include <bit>
#include <cfloat>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace lossd {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double Sum(const std::vector<double>& values) {
  OrderedSum sum;
  for (const double value : values) sum.Add(value);
  return sum.Total();
}

// Lane k of n lanes holds all of the tree above it.
double Tree(const std::vector<double>& lanes) {
  if (lanes.size() == 1) return lanes[0];
  std::vector<double> half;
  for (size_t k = 0; k < lanes.size() / 2; ++k) {
    half.push_back(lanes[k] + lanes[k + lanes.size() / 2]);
  }
  return Tree(half);
}

std::vector<double> LeafSums(const std::vector<double>& values) {
  std::vector<double> leaves;
  for (size_t begin = 0; begin < values.size(); begin += 1024) {
    std::vector<double> lanes(16, 0.0);
    for (size_t k = 0; k < 16; ++k) {
      for (size_t i = k; i < 1024 && begin + i < values.size(); i += 16) {
        lanes[k] += values[begin + i];
      }
    }
    leaves.push_back(Tree(lanes));
  }
  return leaves;
}

// Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher
// Summen", 1974, algorithm IV.
double Neumaier(const std::vector<double>& values) {
  double sum = 0;
  double correction = 0;
  for (const double value : values) {
    const double next = sum + value;
    if (std::abs(sum) >= std::abs(value)) {
      correction += (sum - next) + value;
    } else {
      correction += (value - next) + sum;
    }
    sum = next;
  }
  return sum + correction;
}

std::vector<double> RandomValues(size_t count, std::mt19937_64* random) {
  std::vector<double> values(count);
  for (double& value : values) {
    const double mantissa = static_cast<double>((*random)() >> 11) * 0x1p-52;
    value = std::ldexp(mantissa - 1, static_cast<int>((*random)() % 60) - 30);
  }
  return values;
}

class OrderedSumSizeTest : public testing::TestWithParam<size_t> {};

TEST_P(OrderedSumSizeTest, IsTheDocumentedOrderToTheBit) {
  const auto seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 50; ++i) {
    const std::vector<double> values = RandomValues(GetParam(), &random);
    ASSERT_EQ(std::bit_cast<uint64_t>(Sum(values)),
              std::bit_cast<uint64_t>(Neumaier(LeafSums(values))));
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, OrderedSumSizeTest,
                         testing::Values(0, 1, 15, 16, 17, 1023, 1024, 1025,
                                         2047, 2048, 2049, 4097));

TEST(OrderedSumTest, IsNotThePlainOrder) {
  std::mt19937_64 random(1);
  const std::vector<double> values = RandomValues(4097, &random);
  EXPECT_NE(Sum(values), std::accumulate(values.begin(), values.end(), 0.0));
  EXPECT_NE(Sum(values), Tree(LeafSums({values.begin(), values.end() - 1})));
}

TEST(OrderedSumTest, OfNothingIsZero) {
  EXPECT_EQ(Sum({}), 0);
  EXPECT_FALSE(std::signbit(Sum({})));
}

TEST(OrderedSumTest, LeavesAreCompensated) {
  std::vector<double> values(4 * kLeaf, 0.0);
  values[0] = 1;
  values[kLeaf + 3] = 1e100;
  values[2 * kLeaf + 15] = 1;
  values[3 * kLeaf + 7] = -1e100;
  EXPECT_EQ(Sum(values), 2);
}

TEST(OrderedSumTest, InALeafTheLanesAreNotCompensated) {
  // In lanes 0, 8 and 1: the tree adds the first two first.
  std::vector<double> values(16, 0.0);
  values[0] = 1e100;
  values[8] = 1;
  values[1] = -1e100;
  EXPECT_EQ(Sum(values), 0);
}

TEST(OrderedSumTest, TheTreeAddsLanesThatAreHalfTheWidthApart) {
  double lanes[16] = {};
  lanes[0] = 1e100;
  lanes[8] = -1e100;
  lanes[1] = 1;
  EXPECT_EQ(AddLanes(lanes), 1);
  lanes[8] = 0;
  lanes[15] = -1e100;
  EXPECT_EQ(AddLanes(lanes), 0);
}

TEST(OrderedSumTest, TotalCanBeAskedTwice) {
  OrderedSum sum;
  for (int i = 0; i < 1500; ++i) sum.Add(0.1);
  const double once = sum.Total();
  EXPECT_EQ(sum.Total(), once);
}

TEST(OrderedSumTest, InfinityAndNanFollowArithmetic) {
  for (const size_t place : {size_t{0}, size_t{16}, size_t{1024}}) {
    std::vector<double> values(2100, 1.0);
    values[place] = kInfinity;
    EXPECT_EQ(Sum(values), kInfinity) << place;
    values[place] = -kInfinity;
    EXPECT_EQ(Sum(values), -kInfinity) << place;
    values[2099] = kInfinity;
    EXPECT_TRUE(std::isnan(Sum(values))) << place;
    values[2099] = NAN;
    EXPECT_TRUE(std::isnan(Sum(values))) << place;
  }
}

TEST(OrderedSumTest, AnOverflowIsInfinityNotNan) {
  std::vector<double> values(3 * kLeaf, 0.0);
  values[0] = DBL_MAX;
  values[kLeaf] = DBL_MAX;
  EXPECT_EQ(Sum(values), kInfinity);
  values[2 * kLeaf] = -DBL_MAX;
  EXPECT_EQ(Sum(values), kInfinity);
}

TEST(CompensatedSumTest, KeepsWhatAPlainSumLoses) {
  CompensatedSum sum;
  double plain = 0;
  for (int i = 0; i < 1000000; ++i) {
    sum.Add(0.1);
    plain += 0.1;
  }
  EXPECT_EQ(sum.Total(), 1000000 * 0.1);
  EXPECT_NE(plain, 1000000 * 0.1);
}

}  // namespace
}  // namespace lossd
