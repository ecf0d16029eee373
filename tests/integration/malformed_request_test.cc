// SPDX-License-Identifier: Apache-2.0

#include <random>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/raw_call.h"
#include "tests/integration/test_server.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kMethods[] = {"ComputeLoss", "ComputeGradient",
                                    "ListLosses",  "GetServerInfo",
                                    "StreamLoss",  "StreamGradient"};

std::string Path(const std::string& method) {
  return absl::StrCat("/lossd.v1.LossService/", method);
}

TEST(MalformedRequestTest, BytesThatAreNoMessageAreAnInvalidArgument) {
  TestServer server;
  const auto channel = server.NewChannel();
  for (const std::string method : kMethods) {
    SCOPED_TRACE(method);
    std::string response;
    const grpc::Status status =
        RawCall(channel, Path(method), "\xff\xff\xff\xff\xff", &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(),
                HasSubstr(absl::StrCat("is not a lossd.v1.", method,
                                       "Request: its bytes cannot be parsed")));
    EXPECT_EQ(DetailsOf(status).info.reason(), "MALFORMED_REQUEST");
  }
}

TEST(MalformedRequestTest, AnEmptyMessageIsAMessage) {
  TestServer server;
  const auto channel = server.NewChannel();
  std::string response;
  EXPECT_TRUE(RawCall(channel, Path("ListLosses"), "", &response).ok());
  const grpc::Status status =
      RawCall(channel, Path("ComputeLoss"), "", &response);
  EXPECT_EQ(DetailsOf(status).info.reason(), "LOSS_NOT_SET");
}

// Waits until so many calls are in flight.
bool AwaitInFlight(TestServer& server, int calls) {
  const std::string line = absl::StrCat("\nlossd_in_flight ", calls, "\n");
  for (int i = 0; i < 500; ++i) {
    if (absl::StrContains(server.Metrics(), line)) return true;
    absl::SleepFor(absl::Milliseconds(10));
  }
  return false;
}

TEST(MalformedRequestTest, ACallerThatGoesAwayBeforeItsRequestHasCancelled) {
  TestServer server;
  const auto channel = server.NewChannel();
  for (const std::string method :
       {"ComputeLoss", "ComputeGradient", "ListLosses", "GetServerInfo"}) {
    SCOPED_TRACE(method);
    RawStream stream(channel, Path(method));
    ASSERT_TRUE(AwaitInFlight(server, 1));
    stream.Cancel();
    EXPECT_EQ(stream.Finish().error_code(), grpc::StatusCode::CANCELLED);
    ASSERT_TRUE(AwaitInFlight(server, 0));
    const std::string metrics = server.Metrics();
    EXPECT_THAT(metrics, HasSubstr(absl::StrCat(
                             "lossd_requests_total{code=\"CANCELLED\",loss="
                             "\"none\",method=\"",
                             method, "\"} 1")));
    EXPECT_THAT(metrics, Not(HasSubstr("code=\"INVALID_ARGUMENT\"")));
  }
}

TEST(MalformedRequestTest, AnEndWithoutARequestIsAnInvalidArgument) {
  TestServer server;
  const auto channel = server.NewChannel();
  for (const std::string method : {"ComputeLoss", "ListLosses"}) {
    SCOPED_TRACE(method);
    RawStream stream(channel, Path(method));
    stream.WritesDone();
    const grpc::Status status = stream.Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(DetailsOf(status).info.reason(), "MALFORMED_REQUEST");
    ASSERT_TRUE(AwaitInFlight(server, 0));
    EXPECT_THAT(server.Metrics(),
                HasSubstr(absl::StrCat("{code=\"INVALID_ARGUMENT\",loss="
                                       "\"none\",method=\"",
                                       method, "\"} 1")));
  }
}

TEST(MalformedRequestTest, TruncatedAndRandomBytesDoNoHarm) {
  TestServer server;
  const auto channel = server.NewChannel();
  const std::string good =
      FromJson<v1::ComputeLossRequest>(kSmallRequest).SerializeAsString();
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  std::mt19937 random(seed);
  for (int i = 0; i < 500; ++i) {
    std::string bytes = good;
    if (i % 2 == 0) bytes.resize(random() % bytes.size());
    for (char& byte : bytes) {
      if (random() % 8 == 0) byte = static_cast<char>(random());
    }
    std::string response;
    const grpc::Status status =
        RawCall(channel, Path("ComputeLoss"), bytes, &response);
    EXPECT_TRUE(status.ok() ||
                status.error_code() == grpc::StatusCode::INVALID_ARGUMENT ||
                status.error_code() == grpc::StatusCode::FAILED_PRECONDITION)
        << status.error_code() << ": " << status.error_message();
  }
  std::string response;
  EXPECT_TRUE(RawCall(channel, Path("ComputeLoss"), good, &response).ok());
}

TEST(MalformedRequestTest, AMethodThatIsNotThereIsUnimplemented) {
  TestServer server;
  std::string response;
  EXPECT_EQ(RawCall(server.NewChannel(), Path("ComputeWin"), "", &response)
                .error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

}  // namespace
}  // namespace lossd
