// SPDX-License-Identifier: Apache-2.0

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "grpcpp/client_context.h"
#include "gtest/gtest.h"
#include "tests/integration/test_server.h"

namespace lossd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ComputeTest : public testing::Test {
 protected:
  v1::ComputeLossResponse Loss(const v1::ComputeLossRequest& request) {
    grpc::ClientContext context;
    v1::ComputeLossResponse response;
    const grpc::Status status =
        stub_->ComputeLoss(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }
  v1::ComputeGradientResponse Gradient(
      const v1::ComputeGradientRequest& request) {
    grpc::ClientContext context;
    v1::ComputeGradientResponse response;
    const grpc::Status status =
        stub_->ComputeGradient(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }

  TestServer server_;
  std::unique_ptr<v1::LossService::Stub> stub_ = server_.NewStub();
};

// The numbers of a tensor of one dimension written as values.
std::vector<double> Numbers(const v1::Tensor& tensor) {
  std::vector<double> numbers;
  for (const auto& value : tensor.values().list_value().values()) {
    numbers.push_back(value.number_value());
  }
  return numbers;
}

v1::Tensor Float32(const std::vector<int64_t>& shape,
                   const std::vector<float>& elements) {
  v1::Tensor tensor;
  tensor.set_dtype(v1::DTYPE_FLOAT32);
  tensor.mutable_shape()->Add(shape.begin(), shape.end());
  tensor.set_data(elements.data(), elements.size() * sizeof(float));
  return tensor;
}

TEST_F(ComputeTest, TheFirstCallOfTheContractWorks) {
  const auto response = Loss(FromJson<v1::ComputeLossRequest>(
      R"({"evaluation": {"cross_entropy": {
          "input": {"values": [[-0.278, 0.2306], [-0.3471, 0.2968],
                               [-0.3351, 0.3481]]},
          "target": {"values": [1, 0, 1]}}}})"));
  EXPECT_NEAR(response.result().loss(), 0.6485608220100403, 1e-7);
  EXPECT_EQ(response.result().mean_denominator(), 3);
  EXPECT_EQ(response.result().element_count(), 3);
  EXPECT_EQ(response.result().ignored_count(), 0);
  EXPECT_FALSE(response.result().has_gradient_underflow_count());
  EXPECT_TRUE(response.result().loss_tensor().has_values());
  EXPECT_EQ(response.result().gradients_size(), 0);
}

TEST_F(ComputeTest, ValidatingNeedsOnlyShapesAndComputesNothing) {
  const auto response = Gradient(FromJson<v1::ComputeGradientRequest>(
      R"({"evaluation": {"validate_only": true, "cross_entropy": {
          "input": {"dtype": "DTYPE_FLOAT16", "shape": [512, 32000]},
          "target": {"dtype": "DTYPE_INT64", "shape": [512]}}}})"));
  EXPECT_EQ(response.result().element_count(), 512);
  EXPECT_FALSE(response.result().has_mean_denominator());
  EXPECT_FALSE(response.result().has_ignored_count());
  EXPECT_FALSE(response.result().has_loss());
  EXPECT_FALSE(response.result().has_mean_numerator());
  EXPECT_FALSE(response.result().has_non_finite());
  EXPECT_EQ(response.result().gradients_size(), 0);
}

TEST_F(ComputeTest, ValidatingCountsWhereTargetsAreThere) {
  const auto response = Loss(FromJson<v1::ComputeLossRequest>(
      R"({"evaluation": {"validate_only": true, "cross_entropy": {
          "input": {"dtype": "DTYPE_FLOAT32", "shape": [3, 2]},
          "weight": {"values": [0.25, 4]},
          "target": {"values": [1, -100, 0]}}}})"));
  EXPECT_EQ(response.result().mean_denominator(), 4.25);
  EXPECT_EQ(response.result().ignored_count(), 1);
}

TEST_F(ComputeTest, ValidatingFindsAllThatIsWrong) {
  grpc::ClientContext context;
  v1::ComputeLossResponse response;
  const grpc::Status status = stub_->ComputeLoss(
      &context,
      FromJson<v1::ComputeLossRequest>(
          R"({"evaluation": {"validate_only": true, "mse_loss": {
              "input": {"dtype": "DTYPE_FLOAT32", "shape": [3, 2]},
              "weight": {"dtype": "DTYPE_FLOAT32", "shape": [2]},
              "target": {"dtype": "DTYPE_FLOAT32", "shape": [3]}}}})"),
      &response);
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("target has shape [3]"));
  EXPECT_EQ(DetailsOf(status).bad_request.field_violations_size(), 2);
}

TEST_F(ComputeTest, WithoutContentATensorNeedsItsDtype) {
  grpc::ClientContext context;
  v1::ComputeLossResponse response;
  const grpc::Status status = stub_->ComputeLoss(
      &context,
      FromJson<v1::ComputeLossRequest>(
          R"({"evaluation": {"validate_only": true, "mse_loss": {
              "input": {"shape": [3]}, "target": {"values": [1, 1, -1]}}}})"),
      &response);
  EXPECT_THAT(status.error_message(),
              HasSubstr("input has no dtype: it is required without values."));
}

TEST_F(ComputeTest, TheExecutionIsTold) {
  const auto execution =
      Loss(FromJson<v1::ComputeLossRequest>(kSmallRequest)).execution();
  EXPECT_NE(execution.instance(), "");
  EXPECT_NE(execution.version(), "");
  EXPECT_EQ(execution.numerics_version(), kNumericsVersion);
  EXPECT_EQ(execution.backend(), "cpu");
  EXPECT_EQ(execution.kernel(), "mse_loss");
  EXPECT_NE(execution.target(), "");
  EXPECT_EQ(execution.batch_requests(), 1);
  EXPECT_TRUE(execution.has_queued());
  EXPECT_TRUE(execution.has_computing());
}

TEST_F(ComputeTest, NumbersInGiveNumbersOut) {
  const auto response = Gradient(FromJson<v1::ComputeGradientRequest>(
      R"({"evaluation": {"mse_loss": {"input": {"values": [1.5, 2]},
                                      "target": {"values": [1, 2.1]}}}})"));
  ASSERT_EQ(response.result().gradients_size(), 1);
  EXPECT_EQ(response.result().gradients(0).wrt(), "input");
  EXPECT_THAT(Numbers(response.result().gradients(0).value()),
              ElementsAre(0.5, testing::DoubleNear(-0.1, 1e-6)));
  EXPECT_TRUE(response.result().has_gradient_underflow_count());
}

TEST_F(ComputeTest, DataInGivesDataOut) {
  v1::ComputeGradientRequest request;
  auto* loss = request.mutable_evaluation()->mutable_mse_loss();
  *loss->mutable_input() = Float32({2}, {1, 2});
  *loss->mutable_target() = Float32({2}, {0, 4});
  const auto response = Gradient(request);
  EXPECT_EQ(response.result().loss(), 2.5);
  const v1::Tensor& gradient = response.result().gradients(0).value();
  ASSERT_EQ(gradient.data().size(), 2 * sizeof(float));
  float elements[2];
  std::memcpy(elements, gradient.data().data(), sizeof(elements));
  EXPECT_THAT(elements, ElementsAre(1, -2));
}

TEST_F(ComputeTest, OnlyTheOutputsAskedForAreSent) {
  const auto response = Loss(FromJson<v1::ComputeLossRequest>(
      R"({"evaluation": {"reduction": "REDUCTION_SUM",
          "outputs": ["OUTPUT_ELEMENTWISE_LOSSES", "OUTPUT_PREDICTED_CLASSES"],
          "cross_entropy": {"input": {"values": [[1, 2], [2, 1]]},
                            "target": {"values": [0, 0]}}}})"));
  EXPECT_FALSE(response.result().has_loss());
  EXPECT_FALSE(response.result().has_loss_tensor());
  EXPECT_FALSE(response.result().has_probabilities());
  EXPECT_THAT(Numbers(response.result().predicted_classes()),
              ElementsAre(1, 0));
  EXPECT_EQ(Numbers(response.result().elementwise_losses()).size(), 2);
}

TEST_F(ComputeTest, LargeMessagesGoThrough) {
  const int64_t rows = 64;
  const int64_t classes = 16384;
  v1::ComputeGradientRequest request;
  auto* loss = request.mutable_evaluation()->mutable_cross_entropy();
  *loss->mutable_input() = Float32(
      {rows, classes}, std::vector<float>(static_cast<size_t>(rows * classes)));
  v1::Tensor* target = loss->mutable_target();
  target->set_dtype(v1::DTYPE_INT64);
  target->add_shape(rows);
  target->set_data(std::string(static_cast<size_t>(rows) * 8, '\0'));
  const auto response = Gradient(request);
  EXPECT_NEAR(response.result().loss(), std::log(16384.0), 1e-5);
  EXPECT_EQ(response.result().gradients(0).value().data().size(),
            static_cast<size_t>(rows * classes) * sizeof(float));
}

TEST_F(ComputeTest, ListLossesListsThem) {
  grpc::ClientContext context;
  v1::ListLossesResponse response;
  ASSERT_TRUE(stub_->ListLosses(&context, {}, &response).ok());
  EXPECT_EQ(response.losses_size(), static_cast<int>(AllLosses().size()));
}

TEST_F(ComputeTest, GetServerInfoTellsTheLimitsInForce) {
  TestServer server({"--max-message-bytes", "1MiB", "--max-deadline", "3s",
                     "--max-queue-requests", "7", "--instance", "seven"});
  grpc::ClientContext context;
  v1::GetServerInfoResponse response;
  ASSERT_TRUE(server.NewStub()->GetServerInfo(&context, {}, &response).ok());
  EXPECT_EQ(response.instance(), "seven");
  EXPECT_EQ(response.numerics_version(), kNumericsVersion);
  EXPECT_EQ(response.default_device(), v1::DEVICE_CPU);
  ASSERT_EQ(response.devices_size(), 1);
  EXPECT_NE(response.devices(0).target(), "");
  EXPECT_EQ(response.limits().max_message_bytes(), 1 << 20);
  EXPECT_EQ(response.limits().max_response_bytes(), 1 << 20);
  EXPECT_EQ(response.limits().max_deadline().seconds(), 3);
  EXPECT_EQ(response.limits().max_queue_requests(), 7);
  EXPECT_GT(response.batching().workers(), 0);
}

TEST_F(ComputeTest, AMessageOverTheTransportLimitIsRefusedByGrpc) {
  TestServer server({"--max-message-bytes", "64KiB"});
  v1::ComputeLossRequest request;
  auto* loss = request.mutable_evaluation()->mutable_mse_loss();
  *loss->mutable_input() = Float32({32768}, std::vector<float>(32768));
  grpc::ClientContext context;
  v1::ComputeLossResponse response;
  EXPECT_EQ(
      server.NewStub()->ComputeLoss(&context, request, &response).error_code(),
      grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(ComputeTest, AnAnswerOverTheTransportLimitIsAnError) {
  TestServer server({"--max-message-bytes", "64KiB"});
  v1::ComputeGradientRequest request;
  auto* loss = request.mutable_evaluation()->mutable_mse_loss();
  // As numbers the answer takes three times as much as the elements do.
  for (v1::Tensor* tensor : {loss->mutable_input(), loss->mutable_target()}) {
    auto* list = tensor->mutable_values()->mutable_list_value();
    for (int i = 0; i < 2400; ++i) list->add_values()->set_number_value(i);
  }
  request.add_wrt("input");
  request.add_wrt("target");
  for (v1::Output output :
       {v1::OUTPUT_GRADIENTS, v1::OUTPUT_ELEMENTWISE_LOSSES}) {
    request.mutable_evaluation()->add_outputs(output);
  }
  grpc::ClientContext context;
  v1::ComputeGradientResponse response;
  const grpc::Status status =
      server.NewStub()->ComputeGradient(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(DetailsOf(status).info.reason(), "LIMIT_EXCEEDED");
  EXPECT_EQ(DetailsOf(status).info.metadata().at("limit"), "65536");
}

TEST_F(ComputeTest, CallsAreCounted) {
  Loss(FromJson<v1::ComputeLossRequest>(kSmallRequest));
  EXPECT_THAT(server_.Metrics(), HasSubstr("lossd_requests_total{"));
  EXPECT_THAT(server_.Metrics(), HasSubstr("lossd_batch_requests_count 1"));
  EXPECT_THAT(server_.Metrics(), HasSubstr("lossd_in_flight "));
}

}  // namespace
}  // namespace lossd
