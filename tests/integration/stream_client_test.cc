// SPDX-License-Identifier: Apache-2.0
//
// The client library's StreamLoss and StreamGradient against a lossd of its own
// process.

#include <csignal>
#include <cstdint>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lossd/client.h"
#include "lossd/error.h"
#include "lossd/evaluation_stream.h"
#include "tests/integration/child_process.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

// mse_loss of `count` numbers, the first of which is `first`.
template <typename Request>
Request MakeRequest(float first, int64_t count = 4) {
  std::vector<float> values(static_cast<size_t>(count), 0.5f);
  Request request;
  auto& loss = *request.mutable_evaluation()->mutable_mse_loss();
  *loss.mutable_target() = MakeTensor(values, {count});
  values[0] = first;
  *loss.mutable_input() = MakeTensor(values, {count});
  return request;
}

v1::ComputeGradientRequest GradientRequest(float first, int64_t count = 4) {
  return MakeRequest<v1::ComputeGradientRequest>(first, count);
}

v1::ComputeGradientRequest BadRequest() {
  v1::ComputeGradientRequest request = GradientRequest(1);
  request.mutable_evaluation()->mutable_mse_loss()->clear_target();
  return request;
}

class StreamClientTest : public testing::Test {
 protected:
  // Takes every outcome that is open.
  static std::map<int64_t, absl::StatusOr<v1::ComputeGradientResponse>> TakeAll(
      GradientStream& stream) {
    std::map<int64_t, absl::StatusOr<v1::ComputeGradientResponse>> outcomes;
    while (stream.open() > 0) {
      auto outcome = stream.Next();
      if (!outcome.ok()) {
        ADD_FAILURE() << outcome.status();
        break;
      }
      EXPECT_TRUE(
          outcomes.emplace(outcome->id, std::move(outcome->result)).second)
          << outcome->id << " came twice";
    }
    return outcomes;
  }

  LossdProcess lossd_;
  const Client client_{lossd_.listen()};
};

TEST_F(StreamClientTest, EveryOutcomeIsThatOfTheCallAlone) {
  const auto stream = client_.StreamGradient();
  // Some larger than what a message of several has.
  const auto request_of = [](int id) {
    return GradientRequest(static_cast<float>(id),
                           id % 50 == 49 ? 300'000 : 4 + id % 5);
  };
  for (int id = 0; id < 200; ++id) stream->Send(id, request_of(id));
  EXPECT_EQ(stream->open(), 200);
  auto outcomes = TakeAll(*stream);
  EXPECT_TRUE(stream->Close().ok());
  ASSERT_THAT(outcomes, SizeIs(200));
  for (int id : {0, 7, 49, 199}) {
    const auto& streamed = outcomes.at(id);
    ASSERT_TRUE(streamed.ok()) << streamed.status();
    const auto alone = client_.ComputeGradient(request_of(id));
    ASSERT_TRUE(alone.ok()) << alone.status();
    EXPECT_EQ(streamed->result().SerializeAsString(),
              alone->result().SerializeAsString())
        << id;
  }
}

TEST_F(StreamClientTest, LossesAreStreamedToo) {
  const auto stream = client_.StreamLoss();
  stream->Send(-3, MakeRequest<v1::ComputeLossRequest>(2.5f));
  const auto outcome = stream->Next();
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->id, -3);
  ASSERT_TRUE(outcome->result.ok()) << outcome->result.status();
  EXPECT_EQ(outcome->result->result().loss(), 1);
}

TEST_F(StreamClientTest, AnEvaluationThatFailsFailsAloneAndWithItsDetails) {
  const auto stream = client_.StreamGradient();
  stream->Send(1, GradientRequest(1));
  stream->Send(2, BadRequest());
  stream->Send(3, GradientRequest(3));
  const auto outcomes = TakeAll(*stream);
  ASSERT_THAT(outcomes, SizeIs(3));
  EXPECT_TRUE(outcomes.at(1).ok());
  EXPECT_TRUE(outcomes.at(3).ok());
  const absl::Status& status = outcomes.at(2).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  const ErrorDetails details = GetErrorDetails(status);
  EXPECT_EQ(details.reason, "TENSOR_MISSING");
  ASSERT_THAT(details.violations, SizeIs(1));
  EXPECT_THAT(details.violations[0].field, HasSubstr("target"));
}

TEST_F(StreamClientTest, ARequestOverTheLimitIsNotSentAndEndsNothing) {
  ClientOptions options;
  options.max_message_bytes = 1000;
  const Client client(lossd_.listen(), options);
  const auto stream = client.StreamGradient();
  stream->Send(1, GradientRequest(1, 200));
  stream->Send(2, GradientRequest(1));
  const auto outcomes = TakeAll(*stream);
  ASSERT_THAT(outcomes, SizeIs(2));
  EXPECT_EQ(outcomes.at(1).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(outcomes.at(2).ok()) << outcomes.at(2).status();
}

TEST_F(StreamClientTest, ThereIsNothingToWaitForWhereNothingIsOpen) {
  const auto stream = client_.StreamGradient();
  EXPECT_EQ(stream->Next().status().code(),
            absl::StatusCode::kFailedPrecondition);
  stream->Send(1, GradientRequest(1));
  EXPECT_THAT(TakeAll(*stream), SizeIs(1));
  EXPECT_EQ(stream->Next().status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(StreamClientTest, CloseWaitsForWhatIsOpenAndKeepsIt) {
  const auto stream = client_.StreamGradient();
  for (int id = 0; id < 100; ++id) stream->Send(id, GradientRequest(1));
  EXPECT_TRUE(stream->Close().ok());
  EXPECT_EQ(stream->open(), 100);
  EXPECT_THAT(TakeAll(*stream), SizeIs(100));
  // The stream has ended: this one never has an outcome.
  stream->Send(100, GradientRequest(1));
  EXPECT_EQ(stream->Next().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(stream->Close().code(), absl::StatusCode::kUnavailable);
}

TEST_F(StreamClientTest, TheClientsCallOptionsHoldForEveryEvaluation) {
  std::stop_source source;
  CallOptions options;
  options.request_id = "the-stream";
  options.stop = source.get_token();
  const auto stream = client_.StreamGradient(options);
  stream->Send(1, BadRequest());
  EXPECT_THAT(TakeAll(*stream), SizeIs(1));
  // The log is written beside the answers.
  const absl::Time give_up = absl::Now() + absl::Seconds(10);
  while (!absl::StrContains(lossd_.process().Output(), "the-stream") &&
         absl::Now() < give_up) {
    absl::SleepFor(absl::Milliseconds(5));
  }
  EXPECT_THAT(lossd_.process().Output(), HasSubstr("the-stream"));
  source.request_stop();
  stream->Send(2, GradientRequest(1));
  EXPECT_EQ(stream->Next().status().code(), absl::StatusCode::kCancelled);
}

TEST_F(StreamClientTest, ADeadlineEndsTheStream) {
  CallOptions options;
  options.timeout = absl::Milliseconds(300);
  const auto stream = client_.StreamGradient(options);
  absl::Status end;
  int64_t good = 0;
  while (end.ok()) {
    stream->Send(1, GradientRequest(1));
    const auto outcome = stream->Next();
    end = outcome.status();
    if (outcome.ok() && outcome->result.ok()) ++good;
  }
  EXPECT_EQ(end.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_GT(good, 0);
  EXPECT_EQ(stream->Close().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(StreamClientTest, AServerThatDiesLeavesTheOthersOpen) {
  const auto stream = client_.StreamGradient();
  stream->Send(1, GradientRequest(1));
  ASSERT_THAT(TakeAll(*stream), SizeIs(1));
  lossd_.process().Signal(SIGKILL);
  EXPECT_NE(lossd_.process().Await(absl::Seconds(10)), -1);
  stream->Send(2, GradientRequest(1));
  stream->Send(3, GradientRequest(1));
  EXPECT_EQ(stream->Next().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(stream->open(), 2);
}

TEST_F(StreamClientTest, AStreamOutlivesItsClientAndMayBeLeftOpen) {
  auto stream = Client(lossd_.listen()).StreamGradient();
  stream->Send(1, GradientRequest(1));
  EXPECT_THAT(TakeAll(*stream), SizeIs(1));
  stream->Send(2, GradientRequest(1));
  stream.reset();
  EXPECT_TRUE(client_.ComputeGradient(GradientRequest(1)).ok());
}

}  // namespace
}  // namespace lossd
