// SPDX-License-Identifier: Apache-2.0
#include "client/cli/bench/load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "client/cli/bench/bench.h"
#include "lossd/error.h"
#include "tests/unit/client/fake_loss_service.h"

namespace lossd::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string PayloadWithMargin(double margin) {
  v1::ComputeGradientRequest request;
  request.mutable_evaluation()->mutable_multi_margin_loss()->set_margin(margin);
  return request.SerializeAsString();
}

double MarginOf(const v1::ComputeGradientRequest& request) {
  return request.evaluation().multi_margin_loss().margin();
}

class LoadTest : public ::testing::Test {
 protected:
  LoadTest() {
    options_.server = server_.address();
    options_.method = "/lossd.v1.LossService/ComputeGradient";
    options_.warm_up = absl::ZeroDuration();
    options_.duration = absl::Milliseconds(300);
    options_.timeout = absl::Seconds(10);
  }

  FakeServer server_;
  LoadOptions options_;
  const std::vector<std::string> payloads_ = {PayloadWithMargin(1)};
};

TEST_F(LoadTest, AClosedLoopKeepsThatManyCallsOpenAndNoMore) {
  std::atomic<int> open = 0;
  std::atomic<int> most = 0;
  server_.service().on_gradient = [&](auto*, const auto&, auto*) {
    const int now = ++open;
    for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);)
      ;
    absl::SleepFor(absl::Milliseconds(5));
    --open;
    return grpc::Status::OK;
  };
  options_.concurrency = 2;
  options_.connections = 2;
  options_.threads = 2;
  const auto report = RunLoad(options_, payloads_);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(most, 2);
  // 2 calls of at least 5 ms at a time.
  EXPECT_GT(report->calls, 10);
  EXPECT_LE(report->calls, 2 * 300 / 5);
  EXPECT_EQ(report->latency.count(), report->calls);
  EXPECT_GE(report->latency.QuantileNs(0), 5'000'000);
  EXPECT_EQ(report->request_bytes,
            report->calls * static_cast<int64_t>(payloads_[0].size()));
}

TEST_F(LoadTest, PayloadsAreSentAsTheyAreAndInTurn) {
  absl::Mutex mutex;
  std::map<double, int> seen;
  server_.service().on_gradient = [&](auto*, const auto& request, auto*) {
    const absl::MutexLock lock(&mutex);
    ++seen[MarginOf(request)];
    return grpc::Status::OK;
  };
  options_.concurrency = 1;
  const auto report = RunLoad(
      options_,
      {PayloadWithMargin(1), PayloadWithMargin(2), PayloadWithMargin(3)});
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_LE(std::abs(seen[1] - seen[2]), 1);
  EXPECT_LE(std::abs(seen[2] - seen[3]), 1);
}

TEST_F(LoadTest, TheSizeOfARequestIsAnnouncedIfAskedFor) {
  for (const bool announce : {false, true}) {
    options_.announce = announce;
    options_.duration = absl::Milliseconds(20);
    ASSERT_TRUE(RunLoad(options_, payloads_).ok());
    const auto metadata = server_.service().attempts().back().metadata;
    EXPECT_EQ(metadata.count("lossd-request-bytes"), announce ? 1u : 0u);
    if (announce) {
      EXPECT_EQ(metadata.at("lossd-request-bytes"),
                std::to_string(payloads_[0].size()));
    }
  }
}

TEST_F(LoadTest, AnOpenLoopStartsAsManyCallsAsItsRate) {
  options_.calls_per_s = 400;
  options_.duration = absl::Seconds(1);
  options_.warm_up = absl::Milliseconds(200);
  options_.threads = 3;
  const auto report = RunLoad(options_, payloads_);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->latency.count(), 400);
  EXPECT_EQ(report->all_calls, 480);
  EXPECT_EQ(report->not_started, 0);
  EXPECT_THAT(report->errors, IsEmpty());
}

TEST_F(LoadTest, AStallOfTheServerShowsInTheP99OfAnOpenLoop) {
  std::atomic<int> calls = 0;
  server_.service().on_gradient = [&](auto*, const auto&, auto*) {
    if (++calls == 100) absl::SleepFor(absl::Milliseconds(300));
    return grpc::Status::OK;
  };
  options_.calls_per_s = 500;
  options_.duration = absl::Seconds(1);
  // One call at a time: the server sees one slow call of 500.
  options_.max_open = 1;
  const auto report = RunLoad(options_, payloads_);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->latency.count(), 500);
  EXPECT_GT(report->latency.QuantileNs(0.99), 200'000'000);
  // 150 calls should have started in the stall.
  EXPECT_GT(report->latency.QuantileNs(0.9), 100'000'000);
}

TEST_F(LoadTest, ErrorsAreCountedByCodeWithTheFirstMessage) {
  std::atomic<int> calls = 0;
  server_.service().on_gradient = [&](auto*, const auto&, auto*) {
    const int call = ++calls;
    if (call % 4 == 3) {
      return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED,
                          call == 3 ? "queue is full" : "still full");
    }
    return call % 4 == 1 ? grpc::Status(grpc::StatusCode::ABORTED, "")
                         : grpc::Status::OK;
  };
  options_.concurrency = 1;
  const auto report = RunLoad(options_, payloads_);
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->errors.size(), 2u);
  EXPECT_EQ(report->errors.at("RESOURCE_EXHAUSTED").first_message,
            "queue is full");
  EXPECT_GT(report->errors.at("ABORTED").count, 1);
  EXPECT_EQ(report->ErrorCount(),
            report->errors.at("ABORTED").count +
                report->errors.at("RESOURCE_EXHAUSTED").count);
  EXPECT_LE(std::abs(report->calls - report->ErrorCount()), 2);
}

TEST_F(LoadTest, APayloadThatTheServerRefusesIsAnErrorBeforeTheLoad) {
  std::atomic<int> calls = 0;
  server_.service().on_gradient = [&](auto*, const auto& request, auto*) {
    ++calls;
    return MarginOf(request) < 2
               ? grpc::Status::OK
               : DetailedStatus(grpc::StatusCode::INVALID_ARGUMENT, "no",
                                "SHAPE_MISMATCH", {{"margin", "is 2"}});
  };
  const auto report =
      RunLoad(options_, {PayloadWithMargin(1), PayloadWithMargin(2)});
  EXPECT_EQ(report.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(GetErrorDetails(report.status()).reason, "SHAPE_MISMATCH");
  EXPECT_EQ(calls, 2);
}

TEST_F(LoadTest, CallsThatAServerNeverAnswersAreCancelledAfterTheTimeout) {
  server_.service().hold_losses = true;
  options_.method = "/lossd.v1.LossService/ComputeLoss";
  options_.timeout = absl::Milliseconds(200);
  for (const bool open_loop : {false, true}) {
    if (open_loop) options_.calls_per_s = 50;
    const absl::Time start = absl::Now();
    const auto report = RunLoad(options_, payloads_);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_LT(absl::Now() - start, absl::Seconds(5));
    EXPECT_EQ(report->calls, 0);
    EXPECT_EQ(report->all_calls, open_loop ? 15 : 16);
    if (open_loop) {
      EXPECT_EQ(report->errors.at("CANCELLED").count, 15);
    }
  }
}

TEST_F(LoadTest, CallsThatAnOverloadedOpenLoopCannotStartAreCounted) {
  server_.service().hold_losses = true;
  options_.method = "/lossd.v1.LossService/ComputeLoss";
  options_.timeout = absl::Milliseconds(200);
  options_.calls_per_s = 100;
  options_.max_open = 10;
  const auto report = RunLoad(options_, payloads_);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->all_calls, 10);
  EXPECT_EQ(report->not_started, 20);
}

TEST_F(LoadTest, AServerThatIsNotThereIsUnavailable) {
  options_.server = "127.0.0.1:1";
  options_.connections = 2;
  options_.timeout = absl::Milliseconds(300);
  const auto report = RunLoad(options_, payloads_);
  EXPECT_EQ(report.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(report.status().message()),
              HasSubstr("of 2 connections to 127.0.0.1:1, 0 came about within "
                        "300ms"));
}

TEST_F(LoadTest, ACheckedAnswerMustBeTheSameForTheSamePayload) {
  std::atomic<int> calls = 0;
  server_.service().on_gradient = [&](auto*, const auto& request,
                                      auto* response) {
    response->mutable_result()->set_loss(MarginOf(request));
    // Beside the result anything may differ.
    response->mutable_execution()->set_device(std::to_string(++calls));
    if (calls == 20) response->mutable_result()->set_loss(0.5);
    if (calls == 21) response->clear_result();
    return grpc::Status::OK;
  };
  options_.concurrency = 1;
  const auto report =
      RunLoad(options_, {PayloadWithMargin(1), PayloadWithMargin(2)},
              NewAnswerCheck(options_.method, 2));
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->errors.size(), 1u);
  EXPECT_EQ(report->errors.at("WRONG_ANSWER").count, 2);
  EXPECT_THAT(report->errors.at("WRONG_ANSWER").first_message,
              HasSubstr("differ"));
}

}  // namespace
}  // namespace lossd::cli
