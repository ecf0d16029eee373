// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/health_service.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "grpc/health/v1/health.pb.h"
#include "gtest/gtest.h"
#include "tests/integration/raw_call.h"
#include "tests/unit/rpc/queued_server.h"

namespace lossd {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using ::testing::HasSubstr;

constexpr char kCheck[] = "/grpc.health.v1.Health/Check";
constexpr char kWatch[] = "/grpc.health.v1.Health/Watch";
constexpr char kService[] = "demo.Service";
// A shutdown that waits for something takes longer.
constexpr absl::Duration kSoon = absl::Seconds(10);
constexpr absl::Duration kTimeout = absl::Seconds(60);
constexpr int kNoStatus = -1;

std::string RequestFor(const std::string& service) {
  HealthCheckRequest request;
  request.set_service(service);
  return request.SerializeAsString();
}

// The status in a response.
int StatusIn(const std::string& bytes) {
  HealthCheckResponse response;
  return response.ParseFromString(bytes) ? response.status() : kNoStatus;
}

class Watch {
 public:
  Watch(const QueuedServer& server, const std::string& service)
      : stream_(server.NewChannel(), kWatch) {
    EXPECT_TRUE(stream_.Write(RequestFor(service)));
    EXPECT_TRUE(stream_.WritesDone());
  }
  // The next status; kNoStatus at the end.
  int Next() {
    std::string bytes;
    return stream_.Read(&bytes) ? StatusIn(bytes) : kNoStatus;
  }
  RawStream& stream() { return stream_; }

 private:
  RawStream stream_;
};

class HealthServiceTest : public ::testing::Test {
 protected:
  int Check(const std::string& service) {
    std::string bytes;
    const grpc::Status status =
        RawCall(server_.NewChannel(), kCheck, RequestFor(service), &bytes);
    return status.ok() ? StatusIn(bytes) : kNoStatus;
  }
  // How long it takes until all calls have ended.
  absl::Duration ShutdownTime() {
    const absl::Time start = absl::Now();
    server_.Shutdown(kTimeout);
    return absl::Now() - start;
  }

  HealthService service_{{kService}};
  QueuedServer server_{&service_};
};

TEST_F(HealthServiceTest, ACheckFollowsTheStatus) {
  EXPECT_EQ(Check(""), HealthCheckResponse::SERVING);
  EXPECT_EQ(Check(kService), HealthCheckResponse::SERVING);
  service_.SetServing(false);
  EXPECT_EQ(Check(""), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(Check(kService), HealthCheckResponse::NOT_SERVING);
  service_.SetServing(true);
  EXPECT_EQ(Check(kService), HealthCheckResponse::SERVING);
}

TEST_F(HealthServiceTest, ACheckOfAnotherServiceIsNotFound) {
  std::string bytes;
  EXPECT_EQ(
      RawCall(server_.NewChannel(), kCheck, RequestFor("demo.Other"), &bytes)
          .error_code(),
      grpc::StatusCode::NOT_FOUND);
}

TEST_F(HealthServiceTest, AWatchSeesEachChange) {
  Watch watch(server_, kService);
  EXPECT_EQ(watch.Next(), HealthCheckResponse::SERVING);
  for (const bool serving : {false, true, false}) {
    service_.SetServing(serving);
    EXPECT_EQ(watch.Next(), serving ? HealthCheckResponse::SERVING
                                    : HealthCheckResponse::NOT_SERVING);
  }
}

TEST_F(HealthServiceTest, AWatchIsNotToldWhatItKnows) {
  Watch watch(server_, "");
  EXPECT_EQ(watch.Next(), HealthCheckResponse::SERVING);
  service_.SetServing(true);
  service_.SetServing(false);
  EXPECT_EQ(watch.Next(), HealthCheckResponse::NOT_SERVING);
}

TEST_F(HealthServiceTest, AWatchOfAnotherServiceStaysAndIsToldNothingElse) {
  Watch watch(server_, "demo.Other");
  EXPECT_EQ(watch.Next(), HealthCheckResponse::SERVICE_UNKNOWN);
  service_.SetServing(false);
  service_.EndWatches();
  EXPECT_EQ(watch.Next(), kNoStatus);
  EXPECT_EQ(watch.stream().Finish().error_code(),
            grpc::StatusCode::UNAVAILABLE);
}

TEST_F(HealthServiceTest, AnEndedWatchHasTheLastStatus) {
  Watch before(server_, kService);
  EXPECT_EQ(before.Next(), HealthCheckResponse::SERVING);
  service_.SetServing(false);
  service_.EndWatches();
  Watch after(server_, kService);
  for (Watch* watch : {&before, &after}) {
    EXPECT_EQ(watch->Next(), HealthCheckResponse::NOT_SERVING);
    EXPECT_EQ(watch->Next(), kNoStatus);
    const grpc::Status status = watch->stream().Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_THAT(status.error_message(), HasSubstr("shutting down"));
  }
  EXPECT_EQ(Check(kService), HealthCheckResponse::NOT_SERVING);
  EXPECT_LT(ShutdownTime(), kSoon);
}

TEST_F(HealthServiceTest, AWatchThatIsCancelledEnds) {
  Watch watch(server_, kService);
  EXPECT_EQ(watch.Next(), HealthCheckResponse::SERVING);
  watch.stream().Cancel();
  EXPECT_EQ(watch.stream().Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_LT(ShutdownTime(), kSoon);
}

TEST_F(HealthServiceTest, AWatchIsCancelledByAShutdownThatDoesNotWait) {
  Watch watch(server_, kService);
  EXPECT_EQ(watch.Next(), HealthCheckResponse::SERVING);
  const absl::Time start = absl::Now();
  server_.Shutdown(absl::ZeroDuration());
  EXPECT_LT(absl::Now() - start, kSoon);
  EXPECT_EQ(watch.Next(), kNoStatus);
}

TEST_F(HealthServiceTest, AWatchThatNobodyReadsSkipsToTheLastStatus) {
  constexpr int kChanges = 20001;  // more bytes than gRPC sends unread
  Watch watch(server_, kService);
  EXPECT_EQ(watch.Next(), HealthCheckResponse::SERVING);
  bool serving = true;
  for (int i = 0; i < kChanges; ++i) {
    serving = !serving;
    service_.SetServing(serving);
  }
  ASSERT_FALSE(serving);
  service_.EndWatches();
  int last = kNoStatus;
  int read = 0;
  for (int next = watch.Next(); next != kNoStatus; next = watch.Next()) {
    last = next;
    ++read;
  }
  EXPECT_EQ(last, HealthCheckResponse::NOT_SERVING);
  EXPECT_LE(read, kChanges);
  EXPECT_EQ(watch.stream().Finish().error_code(),
            grpc::StatusCode::UNAVAILABLE);
}

TEST_F(HealthServiceTest, WatchesComeAndGoWhileTheStatusChanges) {
  std::vector<std::thread> watchers;
  for (int i = 0; i < 4; ++i) {
    watchers.emplace_back([&, i] {
      for (int j = 0; j < 50; ++j) {
        Watch watch(server_, j % 2 == 0 ? kService : "");
        EXPECT_NE(watch.Next(), kNoStatus);
        if ((i + j) % 3 == 0) watch.Next();
        watch.stream().Cancel();
        watch.stream().Finish();
      }
    });
  }
  std::atomic<bool> done = false;
  std::thread changer([&] {
    for (bool serving = false; !done.load(); serving = !serving) {
      service_.SetServing(serving);
      absl::SleepFor(absl::Microseconds(100));
    }
  });
  for (std::thread& watcher : watchers) watcher.join();
  done.store(true);
  changer.join();
  service_.EndWatches();
  EXPECT_LT(ShutdownTime(), kSoon);
}

TEST_F(HealthServiceTest, ALongRequestIsRefused) {
  // Two bytes of a tag and a length of three bytes precede the text.
  const std::string longest(kMaxSmallRequestBytes - 4, 'x');
  ASSERT_EQ(RequestFor(longest).size(), kMaxSmallRequestBytes);
  std::string bytes;
  for (const char* method : {kCheck, kWatch}) {
    EXPECT_EQ(
        RawCall(server_.NewChannel(), method, RequestFor(longest + "x"), &bytes)
            .error_code(),
        grpc::StatusCode::RESOURCE_EXHAUSTED);
  }
  EXPECT_EQ(RawCall(server_.NewChannel(), kCheck, RequestFor(longest), &bytes)
                .error_code(),
            grpc::StatusCode::NOT_FOUND);
}

TEST_F(HealthServiceTest, WhatIsNoRequestIsRefused) {
  std::string bytes;
  for (const char* method : {kCheck, kWatch}) {
    EXPECT_EQ(
        RawCall(server_.NewChannel(), method, "\xff", &bytes).error_code(),
        grpc::StatusCode::INVALID_ARGUMENT);
    RawStream empty(server_.NewChannel(), method);
    EXPECT_TRUE(empty.WritesDone());
    EXPECT_EQ(empty.Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
}

}  // namespace
}  // namespace lossd
