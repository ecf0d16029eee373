// SPDX-License-Identifier: Apache-2.0
#include "client/cli/bench/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace lossd::cli {
namespace {

// The value that `share` of the sorted values do not exceed.
int64_t Exact(const std::vector<int64_t>& sorted, double share) {
  const auto rank = static_cast<size_t>(
      std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::max<size_t>(rank, 1) - 1];
}

TEST(LatencyHistogram, OfNothingIsZero) {
  const LatencyHistogram histogram;
  EXPECT_EQ(histogram.count(), 0);
  EXPECT_EQ(histogram.max_ns(), 0);
  EXPECT_EQ(histogram.QuantileNs(0.5), 0);
}

TEST(LatencyHistogram, BoundsEveryValueByAThousandthAndNeverFromBelow) {
  // Each power of two and its neighbours, alone and below a larger one, so that
  // max_ns() does not help.
  for (int bit = 0; bit < 42; ++bit) {
    for (int64_t step = -1; step <= 1; ++step) {
      const int64_t value = (int64_t{1} << bit) + step;
      if (value < 0 || value > LatencyHistogram::kLargestNs) continue;
      LatencyHistogram histogram;
      histogram.Record(value);
      histogram.Record(LatencyHistogram::kLargestNs);
      const int64_t seen = histogram.QuantileNs(0.5);
      EXPECT_GE(seen, value);
      EXPECT_LE(seen - value, value / 1024) << value;
    }
  }
}

TEST(LatencyHistogram, QuantilesAreThoseOfTheSortedValuesWithinAThousandth) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  std::lognormal_distribution<double> latency(11, 2.5);
  LatencyHistogram histogram;
  std::vector<int64_t> values;
  for (int i = 0; i < 100'000; ++i) {
    values.push_back(std::min(static_cast<int64_t>(latency(random)),
                              LatencyHistogram::kLargestNs));
    histogram.Record(values.back());
  }
  std::sort(values.begin(), values.end());
  for (const double share : {0.0, 0.001, 0.5, 0.9, 0.99, 0.999, 0.99999, 1.0}) {
    const int64_t exact = Exact(values, share);
    EXPECT_GE(histogram.QuantileNs(share), exact) << share;
    EXPECT_LE(histogram.QuantileNs(share) - exact, exact / 1024) << share;
  }
  EXPECT_EQ(histogram.count(), 100'000);
  EXPECT_EQ(histogram.max_ns(), values.back());
  EXPECT_EQ(histogram.QuantileNs(1), values.back());
}

TEST(LatencyHistogram, MergedIsAsIfRecordedInOne) {
  LatencyHistogram first;
  LatencyHistogram second;
  LatencyHistogram both;
  for (int64_t value = 1; value < int64_t{1} << 40; value = value * 3 + 1) {
    (value % 2 == 0 ? first : second).Record(value);
    both.Record(value);
  }
  first.Merge(second);
  EXPECT_EQ(first.count(), both.count());
  EXPECT_EQ(first.max_ns(), both.max_ns());
  for (double share = 0; share <= 1; share += 0.05) {
    EXPECT_EQ(first.QuantileNs(share), both.QuantileNs(share)) << share;
  }
}

TEST(LatencyHistogram, KeepsWhatIsOutsideItsRangeAtItsEnds) {
  LatencyHistogram histogram;
  histogram.Record(-5);
  histogram.Record(LatencyHistogram::kLargestNs + 1);
  EXPECT_EQ(histogram.QuantileNs(0.5), 0);
  EXPECT_EQ(histogram.QuantileNs(1), LatencyHistogram::kLargestNs);
}

}  // namespace
}  // namespace lossd::cli
