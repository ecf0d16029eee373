// SPDX-License-Identifier: Apache-2.0

#include "server/batching/rate_meter.h"

#include <limits>

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace lossd {
namespace {

TEST(RateMeterTest, KnowsNothingBeforeTheFirstSample) {
  EXPECT_EQ(RateMeter().PerSecond(), 0);
}

TEST(RateMeterTest, OneSampleIsTheRate) {
  RateMeter meter;
  meter.Add(300, absl::Milliseconds(100));
  EXPECT_DOUBLE_EQ(meter.PerSecond(), 3000);
}

TEST(RateMeterTest, SamplesWithoutTimeOrWorkAreIgnored) {
  RateMeter meter;
  meter.Add(100, absl::Seconds(1));
  meter.Add(100, absl::ZeroDuration());
  meter.Add(100, -absl::Seconds(1));
  meter.Add(100, absl::InfiniteDuration());
  meter.Add(0, absl::Seconds(1));
  meter.Add(-5, absl::Seconds(1));
  meter.Add(std::numeric_limits<double>::quiet_NaN(), absl::Seconds(1));
  meter.Add(std::numeric_limits<double>::infinity(), absl::Seconds(1));
  EXPECT_DOUBLE_EQ(meter.PerSecond(), 100);
}

TEST(RateMeterTest, ALongRunOutweighsManyShortOnes) {
  RateMeter meter;
  for (int i = 0; i < 100; ++i) meter.Add(1, absl::Microseconds(10));
  EXPECT_NEAR(meter.PerSecond(), 1e5, 1);
  meter.Add(1e6, absl::Milliseconds(100));
  EXPECT_GT(meter.PerSecond(), 9.5e6);
}

TEST(RateMeterTest, OldSamplesFadeWithMeasuredTime) {
  RateMeter meter;
  meter.Add(1000, absl::Seconds(1));
  meter.Add(10, RateMeter::kMemory);
  // The first sample has e^-1 of its weight: 1000 / e + 10 in 1 / e + 1 s.
  EXPECT_NEAR(meter.PerSecond(), (1000 * 0.36788 + 10) / 1.36788, 0.01);
  meter.Add(10 * 30, 30 * RateMeter::kMemory);
  EXPECT_NEAR(meter.PerSecond(), 10, 1e-6);
}

}  // namespace
}  // namespace lossd
