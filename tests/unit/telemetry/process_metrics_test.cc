// SPDX-License-Identifier: Apache-2.0

#include "server/telemetry/process_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "server/telemetry/prometheus_metrics.h"

namespace lossd {
namespace {

TEST(ProcessMetrics, ResidentMemoryGrowsWithWhatIsTouched) {
  double before = ResidentMemoryBytes();
  EXPECT_GT(before, 1e6);
  std::vector<char> touched(32 << 20, 1);
  EXPECT_GT(ResidentMemoryBytes(), before + (30 << 20));
  EXPECT_EQ(touched.back(), 1);
}

TEST(ProcessMetrics, TheProcessStartedALittleWhileAgo) {
  double now = absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch());
  // Clocks that are set after the start shift the start by the same time.
  EXPECT_GT(ProcessStartTimeSeconds(), now - 3600);
  EXPECT_LT(ProcessStartTimeSeconds(), now + 5);
}

TEST(ProcessMetrics, AreReadAtEveryScrape) {
  PrometheusMetrics metrics;
  ExportProcessMetrics(metrics);
  EXPECT_THAT(
      metrics.Text(),
      ::testing::AllOf(
          ::testing::HasSubstr("# TYPE process_resident_memory_bytes gauge\n"),
          ::testing::HasSubstr("\nprocess_resident_memory_bytes "),
          ::testing::HasSubstr("\nprocess_start_time_seconds 1"),
          ::testing::Not(
              ::testing::HasSubstr("\nprocess_resident_memory_bytes 0\n"))));
}

}  // namespace
}  // namespace lossd
