// SPDX-License-Identifier: Apache-2.0
#include "lossd/client.h"

#include <gmock/gmock.h>
#include <grpcpp/health_check_service_interface.h>
#include <gtest/gtest.h>

#include <thread>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "tests/unit/client/fake_loss_service.h"

namespace lossd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::ComputeLossRequest RequestOf(int64_t bytes) {
  v1::ComputeLossRequest request;
  auto& loss = *request.mutable_evaluation()->mutable_mse_loss();
  const std::vector<float> values(bytes / 4, 0.5f);
  *loss.mutable_input() =
      MakeTensor(values, {static_cast<int64_t>(values.size())});
  return request;
}

// Fails the first `count` attempts as `failure` says.
FakeLossService::LossHandler FailFirst(
    int count,
    std::function<grpc::Status(grpc::CallbackServerContext*)> failure) {
  auto left = std::make_shared<std::atomic<int>>(count);
  return [left, failure](grpc::CallbackServerContext* context,
                         const v1::ComputeLossRequest& request,
                         v1::ComputeLossResponse* response) {
    if (left->fetch_sub(1) > 0) return failure(context);
    response->mutable_result()->set_loss(
        request.evaluation().mse_loss().input().data().size());
    return grpc::Status::OK;
  };
}

grpc::Status Unavailable(grpc::CallbackServerContext*) {
  return grpc::Status(grpc::UNAVAILABLE, "draining");
}

class ClientTest : public ::testing::Test {
 protected:
  FakeServer server_;
  Client client_{server_.address()};
};

TEST_F(ClientTest, ALossComesBack) {
  server_.service().on_loss = FailFirst(0, Unavailable);
  auto response = client_.ComputeLoss(RequestOf(64));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->result().loss(), 64);
}

TEST_F(ClientTest, AGradientComesBack) {
  server_.service().on_gradient = [](auto*, const auto& request,
                                     auto* response) {
    auto* gradient = response->mutable_result()->add_gradients();
    gradient->set_wrt("input");
    *gradient->mutable_value() = request.evaluation().mse_loss().input();
    return grpc::Status::OK;
  };
  v1::ComputeGradientRequest request;
  *request.mutable_evaluation()->mutable_mse_loss()->mutable_input() =
      MakeTensor<float>({1, 2}, {2});
  auto response = client_.ComputeGradient(request);
  ASSERT_TRUE(response.ok()) << response.status();
  const v1::Tensor* gradient = FindGradient(response->result(), "input");
  ASSERT_NE(gradient, nullptr);
  EXPECT_THAT(*ViewTensor<float>(*gradient), ElementsAre(1, 2));
  EXPECT_EQ(FindGradient(response->result(), "target"), nullptr);
}

TEST_F(ClientTest, TheServerDescribesItselfAndItsLosses) {
  server_.service().info.set_version("1.2.3");
  server_.service().losses = SomeLosses();
  auto info = client_.GetServerInfo();
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->version(), "1.2.3");
  auto losses = client_.ListLosses();
  ASSERT_TRUE(losses.ok()) << losses.status();
  EXPECT_EQ(losses->losses_size(), SomeLosses().losses_size());
}

TEST_F(ClientTest, HealthIsServingAndThenNot) {
  EXPECT_EQ(*client_.Check(), Health::kServing);
  EXPECT_EQ(client_.Check("no.such.Service").status().code(),
            absl::StatusCode::kNotFound);
  server_.server().GetHealthCheckService()->SetServingStatus(false);
  EXPECT_EQ(*client_.Check(), Health::kNotServing);
}

TEST_F(ClientTest, ACallAnnouncesItsSizeAndCarriesItsHints) {
  const v1::ComputeLossRequest request = RequestOf(64);
  ASSERT_TRUE(client_
                  .ComputeLoss(request, {.request_id = "step-7",
                                         .priority = v1::PRIORITY_LOW})
                  .ok());
  const v1::ComputeLossRequest seen = server_.service().loss_request();
  EXPECT_EQ(seen.evaluation().hints().request_id(), "step-7");
  EXPECT_EQ(seen.evaluation().hints().priority(), v1::PRIORITY_LOW);
  EXPECT_EQ(server_.service().attempts()[0].metadata["lossd-request-bytes"],
            std::to_string(seen.ByteSizeLong()));
  EXPECT_FALSE(request.evaluation().has_hints());
}

TEST_F(ClientTest, WithoutATimeoutTheClientsDefaultHolds) {
  Client client(server_.address(), {.timeout = absl::Seconds(5)});
  ASSERT_TRUE(client.ComputeLoss(RequestOf(64)).ok());
  EXPECT_LT(server_.service().attempts()[0].deadline,
            absl::Now() + absl::Seconds(6));
  Client endless(server_.address(), {.timeout = absl::InfiniteDuration()});
  ASSERT_TRUE(endless.ComputeLoss(RequestOf(64)).ok());
  EXPECT_GT(server_.service().attempts()[1].deadline,
            absl::Now() + absl::Hours(1000));
}

TEST_F(ClientTest, ADeadlineEndsACallThatIsNotAnswered) {
  server_.service().hold_losses = true;
  const absl::Time start = absl::Now();
  auto response =
      client_.ComputeLoss(RequestOf(64), {.timeout = absl::Milliseconds(100)});
  EXPECT_EQ(response.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_LT(absl::Now() - start, absl::Seconds(20));
  response = client_.ComputeLoss(RequestOf(64),
                                 {.deadline = absl::Now() - absl::Seconds(1)});
  EXPECT_EQ(response.status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(ClientTest, AStopRequestCancelsABlockingCall) {
  server_.service().hold_losses = true;
  std::stop_source stop;
  std::jthread stopper([&] {
    while (server_.service().attempts().empty()) {
      absl::SleepFor(absl::Milliseconds(1));
    }
    stop.request_stop();
  });
  auto response =
      client_.ComputeLoss(RequestOf(64), {.stop = stop.get_token()});
  EXPECT_EQ(response.status().code(), absl::StatusCode::kCancelled);
  for (int i = 0; i < 5000 && server_.service().cancelled() == 0; ++i) {
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_EQ(server_.service().cancelled(), 1);
}

TEST_F(ClientTest, AStopRequestBeforeTheCallCancelsIt) {
  server_.service().hold_losses = true;
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(client_.ComputeLoss(RequestOf(64), {.stop = stop.get_token()})
                .status()
                .code(),
            absl::StatusCode::kCancelled);
}

TEST_F(ClientTest, OneStopSourceCancelsManyAsynchronousCalls) {
  server_.service().hold_losses = true;
  std::stop_source stop;
  constexpr int kCalls = 50;
  absl::BlockingCounter ended(kCalls);
  std::atomic<int> cancelled = 0;
  for (int i = 0; i < kCalls; ++i) {
    client_.ComputeLossAsync(
        RequestOf(64), {.stop = stop.get_token()}, [&](auto response) {
          cancelled += absl::IsCancelled(response.status());
          ended.DecrementCount();
        });
  }
  stop.request_stop();
  ended.Wait();
  EXPECT_EQ(cancelled, kCalls);
}

TEST_F(ClientTest, AsynchronousCallsOutliveTheClient) {
  server_.service().on_loss = FailFirst(0, Unavailable);
  server_.service().info.set_version("1.2.3");
  server_.service().losses = SomeLosses();
  absl::BlockingCounter ended(4);
  std::atomic<int> good = 0;
  {
    Client client(server_.address());
    client.ComputeLossAsync(RequestOf(64), {}, [&](auto response) {
      good += response.ok() && response->result().loss() == 64;
      ended.DecrementCount();
    });
    client.ComputeGradientAsync({}, {}, [&](auto response) {
      good += response.ok();
      ended.DecrementCount();
    });
    client.ListLossesAsync({}, [&](auto response) {
      good += response.ok() && response->losses_size() > 0;
      ended.DecrementCount();
    });
    client.GetServerInfoAsync({}, [&](auto response) {
      good += response.ok() && response->version() == "1.2.3";
      ended.DecrementCount();
    });
  }
  ended.Wait();
  EXPECT_EQ(good, 4);
}

TEST_F(ClientTest, ErrorsCarryTheirDetails) {
  server_.service().on_loss = [](auto*, const auto&, auto*) {
    return DetailedStatus(grpc::INVALID_ARGUMENT, "bad", "SHAPE_MISMATCH",
                          {{"evaluation.mse_loss.target", "[SHAPE] wrong"},
                           {"evaluation.reduction", "wrong too"}},
                          {{"limit", "3"}, {"actual", "4"}}, 20);
  };
  const absl::Status status = client_.ComputeLoss(RequestOf(64)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "bad");
  const ErrorDetails details = GetErrorDetails(status);
  EXPECT_EQ(details.reason, "SHAPE_MISMATCH");
  EXPECT_EQ(details.domain, "lossd.dev");
  EXPECT_EQ(details.metadata.at("limit"), "3");
  EXPECT_EQ(details.metadata.at("actual"), "4");
  ASSERT_EQ(details.violations.size(), 2u);
  EXPECT_EQ(details.violations[0].field, "evaluation.mse_loss.target");
  EXPECT_EQ(details.violations[0].description, "[SHAPE] wrong");
  EXPECT_EQ(details.violations[1].description, "wrong too");
  EXPECT_EQ(details.retry_delay, absl::Milliseconds(20));
  EXPECT_EQ(server_.service().attempts().size(), 1u);
}

TEST_F(ClientTest, ARequestOverTheLimitIsNotSent) {
  Client client(server_.address(), {.max_message_bytes = 1000});
  const absl::Status status = client.ComputeLoss(RequestOf(1000)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("at most 1000"));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr(std::to_string(RequestOf(1000).ByteSizeLong())));
  EXPECT_THAT(std::string(status.message()), HasSubstr("max_message_bytes"));
  absl::Notification ended;
  client.ComputeLossAsync(RequestOf(1000), {}, [&](auto response) {
    EXPECT_EQ(response.status().code(), absl::StatusCode::kResourceExhausted);
    ended.Notify();
  });
  EXPECT_TRUE(ended.HasBeenNotified());
  EXPECT_TRUE(server_.service().attempts().empty());
}

TEST_F(ClientTest, ARequestOfExactlyTheLimitIsSent) {
  const v1::ComputeLossRequest request = RequestOf(1000);
  Client client(
      server_.address(),
      {.max_message_bytes = static_cast<int64_t>(request.ByteSizeLong())});
  EXPECT_TRUE(client.ComputeLoss(request).ok());
}

TEST_F(ClientTest, AnAnswerOf20MiBArrives) {
  server_.service().on_loss = [](auto*, const auto& request, auto* response) {
    *response->mutable_result()->mutable_loss_tensor() =
        request.evaluation().mse_loss().input();
    return grpc::Status::OK;
  };
  auto response = client_.ComputeLoss(RequestOf(20 << 20));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(ViewTensor<float>(response->result().loss_tensor())->size(),
            5u << 20);
}

TEST_F(ClientTest, AnAnswerOverTheLimitIsAnError) {
  server_.service().on_loss = [](auto*, const auto&, auto* response) {
    response->mutable_result()->mutable_loss_tensor()->set_data(
        std::string(5000, 'x'));
    return grpc::Status::OK;
  };
  Client client(server_.address(), {.max_message_bytes = 1000});
  EXPECT_EQ(client.ComputeLoss(RequestOf(64)).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST_F(ClientTest, NoServerIsUnavailable) {
  Client client("127.0.0.1:1", {.retry = {.max_attempts = 2}});
  EXPECT_EQ(client.ComputeLoss(RequestOf(64)).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(client.Check().status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(ClientTest, ManyThreadsShareOneChannel) {
  server_.service().on_loss = FailFirst(0, Unavailable);
  const auto channel = CreateChannel(server_.address(), {});
  const Client shared(channel);
  std::atomic<int> good = 0;
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 16; ++thread) {
      threads.emplace_back([&, thread] {
        const Client own = thread % 2 == 0 ? shared : Client(channel);
        for (int call = 1; call <= 50; ++call) {
          auto response = own.ComputeLoss(RequestOf(4 * call));
          good += response.ok() && response->result().loss() == 4 * call;
        }
      });
    }
  }
  EXPECT_EQ(good, 16 * 50);
}

// Retries, with a request that fits gRPC's own retry buffer and one that does
// not.
class RetryTest : public ClientTest,
                  public ::testing::WithParamInterface<int64_t> {};

INSTANTIATE_TEST_SUITE_P(Sizes, RetryTest,
                         ::testing::Values(64, int64_t{4} << 20));

TEST_P(RetryTest, UnavailableIsRetriedUntilItSucceeds) {
  server_.service().on_loss = FailFirst(3, Unavailable);
  auto response = client_.ComputeLoss(RequestOf(GetParam()));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->result().loss(), GetParam());
  EXPECT_EQ(server_.service().attempts().size(), 4u);
}

TEST_P(RetryTest, UnavailableIsRetriedAsynchronously) {
  server_.service().on_loss = FailFirst(2, Unavailable);
  absl::Notification ended;
  client_.ComputeLossAsync(RequestOf(GetParam()), {}, [&](auto response) {
    EXPECT_TRUE(response.ok()) << response.status();
    ended.Notify();
  });
  ended.WaitForNotification();
  EXPECT_EQ(server_.service().attempts().size(), 3u);
}

TEST_P(RetryTest, RetriesEndAtMaxAttempts) {
  server_.service().on_loss = FailFirst(1000, Unavailable);
  Client client(server_.address(), {.retry = {.max_attempts = 3}});
  EXPECT_EQ(client.ComputeLoss(RequestOf(GetParam())).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(server_.service().attempts().size(), 3u);
}

TEST_P(RetryTest, OneAttemptMeansNoRetry) {
  server_.service().on_loss = FailFirst(1000, Unavailable);
  Client client(server_.address(), {.retry = {.max_attempts = 1}});
  EXPECT_EQ(client.ComputeLoss(RequestOf(GetParam())).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(server_.service().attempts().size(), 1u);
}

TEST_P(RetryTest, AFullQueueIsRetriedAfterThePauseItAsksFor) {
  server_.service().on_loss = FailFirst(1, [](auto* context) {
    context->AddTrailingMetadata("grpc-retry-pushback-ms", "300");
    return grpc::Status(grpc::RESOURCE_EXHAUSTED, "the queue is full");
  });
  const absl::Time start = absl::Now();
  auto response = client_.ComputeLoss(RequestOf(GetParam()));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(300));
  EXPECT_EQ(server_.service().attempts().size(), 2u);
}

TEST_P(RetryTest, ANegativePushbackForbidsARetry) {
  server_.service().on_loss = FailFirst(1, [](auto* context) {
    context->AddTrailingMetadata("grpc-retry-pushback-ms", "-1");
    return grpc::Status(grpc::RESOURCE_EXHAUSTED, "the queue is full");
  });
  EXPECT_EQ(client_.ComputeLoss(RequestOf(GetParam())).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(server_.service().attempts().size(), 1u);
}

TEST_P(RetryTest, WhatIsWrongWithTheRequestIsNotRetried) {
  server_.service().on_loss = FailFirst(
      1000, [](auto*) { return grpc::Status(grpc::INVALID_ARGUMENT, "bad"); });
  EXPECT_EQ(client_.ComputeLoss(RequestOf(GetParam())).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(server_.service().attempts().size(), 1u);
}

TEST_P(RetryTest, TheDeadlineCoversAllAttempts) {
  server_.service().on_loss = FailFirst(1000, [](auto* context) {
    context->AddTrailingMetadata("grpc-retry-pushback-ms", "10000");
    return grpc::Status(grpc::UNAVAILABLE, "draining");
  });
  const absl::Time start = absl::Now();
  const absl::Status status =
      client_
          .ComputeLoss(RequestOf(GetParam()),
                       {.timeout = absl::Milliseconds(500)})
          .status();
  EXPECT_FALSE(status.ok());
  EXPECT_LT(absl::Now() - start, absl::Seconds(8));
  EXPECT_EQ(server_.service().attempts().size(), 1u);
}

TEST_F(ClientTest, RetriesAreThrottledWhileFailuresOutweighSuccesses) {
  server_.service().on_loss = FailFirst(1000, Unavailable);
  Client client(
      server_.address(),
      {.retry = {.initial_backoff = absl::Milliseconds(1), .max_tokens = 10}});
  for (int call = 0; call < 10; ++call) {
    EXPECT_FALSE(client.ComputeLoss(RequestOf(64)).ok());
  }
  EXPECT_LT(server_.service().attempts().size(), 20u);
}

}  // namespace
}  // namespace lossd
