// SPDX-License-Identifier: Apache-2.0

#include "server/telemetry/server_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "server/telemetry/inert_metrics.h"
#include "server/telemetry/prometheus_metrics.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kMse = 1;
constexpr int kComputeLoss = 0;
constexpr int kCpu = 0;
constexpr int kQueueFull = 0;

ServerMetricsLabels TestLabels() {
  return {.losses = {"bce", "mse_loss"},
          .methods = {"ComputeLoss", "ComputeGradient"},
          .devices = {"cpu"},
          .rejection_reasons = {"QUEUE_FULL", "DRAINING"}};
}

class ServerMetricsTest : public ::testing::Test {
 protected:
  std::string Text() { return factory_.Text(); }

  PrometheusMetrics factory_;
  ServerMetrics metrics_{
      factory_,
      TestLabels(),
      {.version = "0.1.0", .numerics_version = 1, .target = "AVX3"}};
};

TEST_F(ServerMetricsTest, TellsWhatIsRunning) {
  EXPECT_THAT(Text(),
              HasSubstr("lossd_build_info{numerics_version=\"1\",target="
                        "\"AVX3\",version=\"0.1.0\"} 1\n"));
}

TEST_F(ServerMetricsTest, CountsRequestsByLossMethodAndCode) {
  metrics_.OnRequest(kMse, kComputeLoss, absl::StatusCode::kOk);
  metrics_.OnRequest(kMse, kComputeLoss, absl::StatusCode::kOk);
  metrics_.OnRequest(kMse, 1, absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Text(), HasSubstr("lossd_requests_total{code=\"OK\",loss="
                                "\"mse_loss\",method=\"ComputeLoss\"} 2\n"));
  EXPECT_THAT(Text(),
              HasSubstr("lossd_requests_total{code=\"INVALID_ARGUMENT\",loss="
                        "\"mse_loss\",method=\"ComputeGradient\"} 1\n"));
  EXPECT_THAT(Text(), Not(HasSubstr("method=\"ComputeLoss\",loss=\"bce\"")));
}

TEST_F(ServerMetricsTest, EveryCodeHasItsOwnName) {
  for (int code = 0; code <= 16; ++code) {
    metrics_.OnRequest(0, 0, static_cast<absl::StatusCode>(code));
  }
  std::string text = Text();
  for (const char* name : {"OK", "CANCELLED", "RESOURCE_EXHAUSTED",
                           "UNAVAILABLE", "UNAUTHENTICATED"}) {
    EXPECT_THAT(text, HasSubstr(std::string("code=\"") + name + "\""));
  }
  std::string::size_type lines = 0;
  for (std::string::size_type at = text.find("lossd_requests_total{");
       at != std::string::npos; at = text.find("lossd_requests_total{", at + 1))
    ++lines;
  EXPECT_EQ(lines, 17u);
}

TEST_F(ServerMetricsTest, UnknownValuesShareOneName) {
  for (int loss : {ServerMetrics::kNoLoss, 2, 1000000, -1000000}) {
    metrics_.OnRequest(loss, 99, static_cast<absl::StatusCode>(99));
    metrics_.OnNonFiniteResult(loss);
    metrics_.OnRejection(loss);
    metrics_.OnComputed(loss, loss, absl::Seconds(1));
  }
  EXPECT_THAT(Text(), HasSubstr("lossd_requests_total{code=\"UNKNOWN\",loss="
                                "\"none\",method=\"other\"} 4\n"));
  EXPECT_THAT(Text(),
              HasSubstr("lossd_non_finite_results_total{loss=\"none\"} 4\n"));
  EXPECT_THAT(Text(),
              HasSubstr("lossd_rejections_total{reason=\"other\"} 4\n"));
  EXPECT_THAT(Text(), HasSubstr("lossd_compute_seconds_count{device=\"other\","
                                "loss=\"none\"} 4\n"));
}

TEST_F(ServerMetricsTest, SmallSetsAreZeroFromTheStart) {
  EXPECT_THAT(Text(),
              HasSubstr("lossd_rejections_total{reason=\"QUEUE_FULL\"} 0\n"));
  EXPECT_THAT(
      Text(),
      HasSubstr("lossd_dropped_total{stage=\"run\",why=\"cancelled\"} 0\n"));
  EXPECT_THAT(Text(),
              HasSubstr("lossd_non_finite_results_total{loss=\"bce\"} 0\n"));
  EXPECT_THAT(Text(), HasSubstr("lossd_in_flight 0\n"));
  EXPECT_THAT(Text(), HasSubstr("lossd_queue_seconds_count 0\n"));
}

TEST_F(ServerMetricsTest, CountsRejectionsAndDrops) {
  metrics_.OnRejection(kQueueFull);
  metrics_.OnDropped(ServerMetrics::Stage::kArrival,
                     ServerMetrics::Why::kExpired);
  metrics_.OnDropped(ServerMetrics::Stage::kQueue,
                     ServerMetrics::Why::kCancelled);
  EXPECT_THAT(Text(),
              HasSubstr("lossd_rejections_total{reason=\"QUEUE_FULL\"} 1\n"));
  EXPECT_THAT(
      Text(),
      HasSubstr("lossd_dropped_total{stage=\"arrival\",why=\"expired\"} 1\n"));
  EXPECT_THAT(
      Text(),
      HasSubstr("lossd_dropped_total{stage=\"queue\",why=\"cancelled\"} 1\n"));
  EXPECT_THAT(
      Text(),
      HasSubstr("lossd_dropped_total{stage=\"queue\",why=\"expired\"} 0\n"));
}

TEST_F(ServerMetricsTest, MeasuresQueueBatchesAndComputing) {
  metrics_.OnQueued(absl::Milliseconds(3));
  metrics_.OnBatch(4, 1000);
  metrics_.OnComputed(kMse, kCpu, absl::Milliseconds(250));
  std::string text = Text();
  EXPECT_THAT(text, HasSubstr("lossd_queue_seconds_sum 0.003\n"));
  EXPECT_THAT(text, HasSubstr("lossd_queue_seconds_bucket{le=\"0.002\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("lossd_queue_seconds_bucket{le=\"0.005\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("lossd_batch_requests_bucket{le=\"4\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("lossd_batch_requests_bucket{le=\"2\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("lossd_batch_rows_sum 1000\n"));
  EXPECT_THAT(text, HasSubstr("lossd_compute_seconds_sum{device=\"cpu\",loss="
                              "\"mse_loss\"} 0.25\n"));
}

TEST_F(ServerMetricsTest, LevelsAreSetByTheirOwners) {
  metrics_.in_flight().Add(2);
  metrics_.in_flight().Add(-1);
  metrics_.queue_requests().Set(5);
  metrics_.queue_bytes().Set(1000);
  EXPECT_THAT(Text(), HasSubstr("lossd_in_flight 1\n"));
  EXPECT_THAT(Text(), HasSubstr("lossd_queue_requests 5\n"));
  EXPECT_THAT(Text(), HasSubstr("lossd_queue_bytes 1000\n"));
}

TEST_F(ServerMetricsTest, CountsFromManyThreads) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([this] {
      for (int j = 0; j < 1000; ++j) {
        metrics_.OnRequest(j % 2, j % 2, absl::StatusCode::kOk);
        metrics_.OnComputed(0, kCpu, absl::Microseconds(1));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(Text(), HasSubstr("method=\"ComputeLoss\"} 2000\n"));
  EXPECT_THAT(Text(), HasSubstr("lossd_compute_seconds_count{device=\"cpu\","
                                "loss=\"bce\"} 4000\n"));
}

TEST(ServerMetrics, WorkWithoutReaders) {
  InertMetrics factory;
  ServerMetrics metrics(factory, TestLabels(), {});
  metrics.OnRequest(0, 0, absl::StatusCode::kOk);
  metrics.OnBatch(1, 1);
}

}  // namespace
}  // namespace lossd
