// SPDX-License-Identifier: Apache-2.0

#include "server/batching/batcher_options.h"

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/clock.h"
#include "server/batching/batcher.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;

TEST(BatcherOptionsTest, DefaultsAreValid) {
  EXPECT_TRUE(ValidateBatcherOptions({}).ok());
}

TEST(BatcherOptionsTest, OneIsTheLeastOfEveryBound) {
  EXPECT_TRUE(ValidateBatcherOptions({.workers = 1,
                                      .inline_operations = -1,
                                      .max_batch_bytes = 1,
                                      .max_batch_units = 1,
                                      .max_batch_requests = 1,
                                      .max_queue_bytes = 1,
                                      .max_queue_operations = 1,
                                      .max_queue_requests = 1})
                  .ok());
}

TEST(BatcherOptionsTest, EverySettingBelowItsLeastIsNamed) {
  struct Case {
    std::string name;
    std::function<void(BatcherOptions&)> spoil;
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<Case> cases = {
      {"workers", [](BatcherOptions& o) { o.workers = 0; }},
      {"inline_operations",
       [nan](BatcherOptions& o) { o.inline_operations = nan; }},
      {"max_batch_bytes", [](BatcherOptions& o) { o.max_batch_bytes = 0; }},
      {"max_batch_units", [](BatcherOptions& o) { o.max_batch_units = -1; }},
      {"max_batch_requests",
       [](BatcherOptions& o) { o.max_batch_requests = 0; }},
      {"max_queue_bytes", [](BatcherOptions& o) { o.max_queue_bytes = 0; }},
      {"max_queue_operations",
       [nan](BatcherOptions& o) { o.max_queue_operations = nan; }},
      {"max_queue_requests",
       [](BatcherOptions& o) { o.max_queue_requests = 0; }}};
  for (const Case& each : cases) {
    BatcherOptions options;
    each.spoil(options);
    const absl::Status status = ValidateBatcherOptions(options);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << each.name;
    EXPECT_THAT(std::string(status.message()), HasSubstr(each.name));
  }
}

TEST(BatcherOptionsTest, AllMistakesAreReportedTogether) {
  const absl::Status status =
      ValidateBatcherOptions({.workers = 0, .max_queue_requests = 0});
  EXPECT_THAT(std::string(status.message()), HasSubstr("workers = 0"));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("max_queue_requests = 0"));
}

TEST(BatcherOptionsTest, NoBatcherIsMadeOfInvalidOptions) {
  EXPECT_EQ(Batcher::Create(
                {.workers = 0}, Clock::Real(),
                [](absl::Span<BatchItem* const>) {}, nullptr)
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace lossd
