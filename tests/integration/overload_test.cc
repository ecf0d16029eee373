// SPDX-License-Identifier: Apache-2.0

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "grpcpp/client_context.h"
#include "gtest/gtest.h"
#include "tests/integration/test_server.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;

// A call on a thread of its own.
class BackgroundCall {
 public:
  BackgroundCall(const TestServer& server, absl::Duration timeout)
      : stub_(server.NewStub()), thread_([this, timeout] {
          context_.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
          v1::ComputeLossResponse response;
          status_ = stub_->ComputeLoss(
              &context_, FromJson<v1::ComputeLossRequest>(kSmallRequest),
              &response);
        }) {}
  ~BackgroundCall() {
    if (thread_.joinable()) thread_.join();
  }
  void Cancel() { context_.TryCancel(); }
  const grpc::Status& Await() {
    thread_.join();
    return status_;
  }

 private:
  std::unique_ptr<v1::LossService::Stub> stub_;
  grpc::ClientContext context_;
  grpc::Status status_;
  std::thread thread_;
};

class OverloadTest : public testing::Test {
 protected:
  // One call computes, behind the gate, and `queue` others can wait.
  explicit OverloadTest(const std::string& queue = "1")
      : server_({"--batch-workers", "1", "--max-batch-requests", "1",
                 "--inline-operations", "0", "--max-queue-requests", queue},
                std::make_unique<HeldBackend>(&gate_)) {}
  ~OverloadTest() override { gate_.Open(); }

  void AwaitMetric(const std::string& line) {
    for (int i = 0; i < 1000; ++i) {
      if (server_.Metrics().find(line) != std::string::npos) return;
      absl::SleepFor(absl::Milliseconds(10));
    }
    FAIL() << "no " << line << " in\n" << server_.Metrics();
  }

  HeldBackend::Gate gate_;
  TestServer server_;
};

TEST_F(OverloadTest, AFullQueueRefusesWithADelay) {
  BackgroundCall running(server_, absl::Seconds(30));
  gate_.AwaitWaiting(1);
  BackgroundCall waiting(server_, absl::Seconds(30));
  AwaitMetric("lossd_queue_requests 1");

  grpc::ClientContext context;
  v1::ComputeLossResponse response;
  const grpc::Status status = server_.NewStub()->ComputeLoss(
      &context, FromJson<v1::ComputeLossRequest>(kSmallRequest), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  const ErrorDetails details = DetailsOf(status);
  EXPECT_EQ(details.info.reason(), "QUEUE_FULL");
  EXPECT_TRUE(details.retry.has_retry_delay());
  EXPECT_EQ(context.GetServerTrailingMetadata().count("grpc-retry-pushback-ms"),
            1);

  gate_.Open();
  EXPECT_TRUE(running.Await().ok());
  EXPECT_TRUE(waiting.Await().ok());
}

TEST_F(OverloadTest, WorkPastItsDeadlineIsNotComputed) {
  BackgroundCall running(server_, absl::Seconds(30));
  gate_.AwaitWaiting(1);
  BackgroundCall late(server_, absl::Milliseconds(200));
  EXPECT_EQ(late.Await().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  // The server counts the time allowed from when the request arrived.
  absl::SleepFor(absl::Seconds(1));
  gate_.Open();
  EXPECT_TRUE(running.Await().ok());
  AwaitMetric("lossd_in_flight 0");
  EXPECT_EQ(gate_.Computed(), 1);
}

TEST_F(OverloadTest, WorkThatNobodyWaitsForIsNotComputed) {
  BackgroundCall running(server_, absl::Seconds(30));
  gate_.AwaitWaiting(1);
  BackgroundCall given_up(server_, absl::Seconds(30));
  AwaitMetric("lossd_queue_requests 1");
  given_up.Cancel();
  EXPECT_EQ(given_up.Await().error_code(), grpc::StatusCode::CANCELLED);
  // The server learns of it a little later.
  absl::SleepFor(absl::Milliseconds(200));
  gate_.Open();
  EXPECT_TRUE(running.Await().ok());
  AwaitMetric("lossd_in_flight 0");
  EXPECT_EQ(gate_.Computed(), 1);
  EXPECT_THAT(
      server_.Metrics(),
      HasSubstr(R"(lossd_dropped_total{stage="queue",why="cancelled"} 1)"));
}

TEST_F(OverloadTest, TheServersDeadlineCapsTheCallers) {
  HeldBackend::Gate gate;
  TestServer server({"--batch-workers", "1", "--max-batch-requests", "1",
                     "--inline-operations", "0", "--max-deadline", "100ms"},
                    std::make_unique<HeldBackend>(&gate));
  BackgroundCall running(server, absl::Seconds(30));
  gate.AwaitWaiting(1);
  BackgroundCall late(server, absl::Seconds(30));
  absl::SleepFor(absl::Milliseconds(500));
  gate.Open();
  EXPECT_TRUE(running.Await().ok());
  const grpc::Status status = late.Await();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(DetailsOf(status).info.reason(), "DEADLINE_EXCEEDED");
  EXPECT_EQ(gate.Computed(), 1);
}

TEST_F(OverloadTest, ShutdownWaitsForWhatIsInFlight) {
  BackgroundCall running(server_, absl::Seconds(30));
  gate_.AwaitWaiting(1);
  BackgroundCall waiting(server_, absl::Seconds(30));
  AwaitMetric("lossd_queue_requests 1");
  std::thread opener([this] {
    absl::SleepFor(absl::Milliseconds(300));
    gate_.Open();
  });
  server_.server().Shutdown(absl::Seconds(30));
  opener.join();
  EXPECT_TRUE(running.Await().ok());
  EXPECT_TRUE(waiting.Await().ok());
}

}  // namespace
}  // namespace lossd
