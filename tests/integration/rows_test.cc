// SPDX-License-Identifier: Apache-2.0
//
// StreamRows over a real server: the bits of the unary call, errors with their
// details, and what a client may do wrong.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "grpcpp/client_context.h"
#include "gtest/gtest.h"
#include "tests/integration/test_server.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;

using Rows =
    grpc::ClientReaderWriter<v1::StreamRowsRequest, v1::StreamRowsResponse>;

constexpr int64_t kRows = 61;
constexpr int64_t kClasses = 300;
constexpr int64_t kRowBytes = kClasses * 4;

std::string Logits() {
  std::string data(static_cast<size_t>(kRows * kRowBytes), '\0');
  for (int64_t i = 0; i < kRows * kClasses; ++i) {
    const float value = static_cast<float>(i * 37 % 1009) / 100.0f - 5.0f;
    std::memcpy(&data[static_cast<size_t>(i * 4)], &value, 4);
  }
  return data;
}

std::string Targets() {
  std::string data(static_cast<size_t>(kRows), '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 7);
  return data;
}

v1::Tensor* SetTensor(v1::Tensor* tensor, v1::Dtype dtype,
                      const std::vector<int64_t>& shape) {
  tensor->set_dtype(dtype);
  tensor->mutable_shape()->Assign(shape.begin(), shape.end());
  return tensor;
}

// Cross-entropy with the targets in the head, its logits without content.
v1::ComputeGradientRequest CrossEntropy() {
  v1::ComputeGradientRequest request;
  auto* loss = request.mutable_evaluation()->mutable_cross_entropy();
  SetTensor(loss->mutable_target(), v1::DTYPE_UINT8, {kRows})
      ->set_data(Targets());
  SetTensor(loss->mutable_input(), v1::DTYPE_FLOAT32, {kRows, kClasses});
  return request;
}

// An elementwise loss, of which everything is streamed.
v1::ComputeGradientRequest SquaredError() {
  v1::ComputeGradientRequest request;
  auto* loss = request.mutable_evaluation()->mutable_mse_loss();
  SetTensor(loss->mutable_target(), v1::DTYPE_FLOAT32, {kRows, kClasses});
  SetTensor(loss->mutable_input(), v1::DTYPE_FLOAT32, {kRows, kClasses});
  return request;
}

v1::StreamRowsRequest HeadOf(const v1::ComputeGradientRequest& request) {
  v1::StreamRowsRequest message;
  *message.mutable_head()->mutable_gradient() = request;
  return message;
}

using Tensors = std::vector<std::pair<std::string, const std::string*>>;

v1::StreamRowsRequest ChunkOf(const Tensors& tensors, int64_t begin,
                              int64_t rows) {
  v1::StreamRowsRequest message;
  message.mutable_chunk()->set_rows(rows);
  for (const auto& [name, data] : tensors) {
    v1::TensorRows* tensor = message.mutable_chunk()->add_tensors();
    tensor->set_name(name);
    tensor->set_data(data->substr(static_cast<size_t>(begin * kRowBytes),
                                  static_cast<size_t>(rows * kRowBytes)));
  }
  return message;
}

// What came back.
struct Outcome {
  grpc::Status status;
  std::string gradient;
  int64_t gradient_rows = 0;
  bool gradients_after_result = false;
  bool has_result = false;
  v1::Result result;
};

void ReadAll(Rows* stream, Outcome* outcome) {
  v1::StreamRowsResponse response;
  while (stream->Read(&response)) {
    if (response.has_gradients()) {
      outcome->gradients_after_result |= outcome->has_result;
      outcome->gradient_rows += response.gradients().rows();
      outcome->gradient += response.gradients().tensors(0).data();
    } else {
      outcome->has_result = true;
      outcome->result = response.response().result();
    }
  }
}

class RowsTest : public testing::Test {
 protected:
  void SetUp() override {
    context_.set_deadline(std::chrono::system_clock::now() +
                          std::chrono::seconds(20));
  }

  Outcome Run(const std::vector<v1::StreamRowsRequest>& messages) {
    Outcome outcome;
    const auto stream = stub_->StreamRows(&context_);
    std::thread writer([&] {
      for (const auto& message : messages) {
        if (!stream->Write(message)) break;
      }
      stream->WritesDone();
    });
    ReadAll(stream.get(), &outcome);
    writer.join();
    outcome.status = stream->Finish();
    return outcome;
  }

  Outcome Refused(const std::vector<v1::StreamRowsRequest>& messages,
                  const std::string& reason) {
    Outcome outcome = Run(messages);
    EXPECT_EQ(outcome.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(DetailsOf(outcome.status).info.reason(), reason)
        << outcome.status.error_message();
    EXPECT_FALSE(outcome.has_result);
    return outcome;
  }

  v1::Result Unary(const v1::ComputeGradientRequest& request) {
    grpc::ClientContext context;
    v1::ComputeGradientResponse response;
    const grpc::Status status =
        stub_->ComputeGradient(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.result();
  }

  void ExpectUnary(const v1::ComputeGradientRequest& whole,
                   const Outcome& outcome) {
    EXPECT_TRUE(outcome.status.ok()) << outcome.status.error_message();
    EXPECT_TRUE(outcome.has_result);
    EXPECT_FALSE(outcome.gradients_after_result);
    v1::Result expected = Unary(whole);
    EXPECT_EQ(outcome.gradient, expected.gradients(0).value().data());
    EXPECT_EQ(outcome.gradient_rows, kRows);
    expected.clear_gradients();
    EXPECT_EQ(outcome.result.SerializeAsString(), expected.SerializeAsString());
  }

  TestServer server_;
  std::unique_ptr<v1::LossService::Stub> stub_ = server_.NewStub();
  grpc::ClientContext context_;
  const std::string logits_ = Logits();
  const std::string zeros_ =
      std::string(static_cast<size_t>(kRows * kRowBytes), '\0');
};

class RowsCutTest : public RowsTest, public testing::WithParamInterface<int> {};

TEST_P(RowsCutTest, ARowLossHasTheBitsOfTheUnaryCall) {
  std::vector<v1::StreamRowsRequest> messages = {HeadOf(CrossEntropy())};
  for (int64_t row = 0; row < kRows; row += GetParam()) {
    messages.push_back(ChunkOf({{"input", &logits_}}, row,
                               std::min<int64_t>(GetParam(), kRows - row)));
  }
  v1::ComputeGradientRequest whole = CrossEntropy();
  whole.mutable_evaluation()
      ->mutable_cross_entropy()
      ->mutable_input()
      ->set_data(logits_);
  ExpectUnary(whole, Run(messages));
}

TEST_P(RowsCutTest, AnElementwiseLossHasTheBitsOfTheUnaryCall) {
  std::vector<v1::StreamRowsRequest> messages = {HeadOf(SquaredError())};
  for (int64_t row = 0; row < kRows; row += GetParam()) {
    messages.push_back(ChunkOf({{"target", &zeros_}, {"input", &logits_}}, row,
                               std::min<int64_t>(GetParam(), kRows - row)));
  }
  v1::ComputeGradientRequest whole = SquaredError();
  auto* loss = whole.mutable_evaluation()->mutable_mse_loss();
  loss->mutable_input()->set_data(logits_);
  loss->mutable_target()->set_data(zeros_);
  ExpectUnary(whole, Run(messages));
}

INSTANTIATE_TEST_SUITE_P(Rows, RowsCutTest,
                         testing::Values(1, 2, 3, 7, 13, 31, 60, 61));

TEST_F(RowsTest, ALossAloneHasNoGradients) {
  v1::StreamRowsRequest head;
  *head.mutable_head()->mutable_loss()->mutable_evaluation() =
      SquaredError().evaluation();
  const Outcome outcome =
      Run({head, ChunkOf({{"input", &logits_}, {"target", &zeros_}}, 0, 61)});
  EXPECT_TRUE(outcome.status.ok()) << outcome.status.error_message();
  EXPECT_EQ(outcome.gradient, "");
  EXPECT_GT(outcome.result.loss(), 0);
  EXPECT_EQ(outcome.result.element_count(), kRows * kClasses);
}

TEST_F(RowsTest, GradientsComeBeforeTheNextRowsAreSent) {
  const auto stream = stub_->StreamRows(&context_);
  ASSERT_TRUE(stream->Write(HeadOf(CrossEntropy())));
  v1::StreamRowsResponse response;
  for (int64_t row = 0; row < kRows; ++row) {
    ASSERT_TRUE(stream->Write(ChunkOf({{"input", &logits_}}, row, 1)));
    ASSERT_TRUE(stream->Read(&response));
    ASSERT_EQ(response.gradients().rows(), 1);
  }
  ASSERT_TRUE(stream->WritesDone());
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_TRUE(response.has_response());
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(RowsTest, TheMessagesOfAClientThatDoesNotReadWait) {
  // 64 KiB of gradients in the transport, and a few chunks in the server: a
  // client that writes far more without reading is held up, and goes on when it
  // reads.
  v1::ComputeGradientRequest request = SquaredError();
  auto* loss = request.mutable_evaluation()->mutable_mse_loss();
  constexpr int64_t kMany = 300;
  constexpr int64_t kWidth = 1 << 17;
  for (v1::Tensor* tensor : {loss->mutable_input(), loss->mutable_target()}) {
    tensor->set_shape(0, kMany);
    tensor->set_shape(1, kWidth);
  }
  const auto stream = stub_->StreamRows(&context_);
  std::atomic<int64_t> written = 0;
  std::thread writer([&] {
    stream->Write(HeadOf(request));
    const std::string row(kWidth * 4, '\0');
    v1::StreamRowsRequest chunk;
    chunk.mutable_chunk()->set_rows(1);
    for (const char* name : {"input", "target"}) {
      auto* tensor = chunk.mutable_chunk()->add_tensors();
      tensor->set_name(name);
      tensor->set_data(row);
    }
    for (int64_t i = 0; i < kMany && stream->Write(chunk); ++i) ++written;
    stream->WritesDone();
  });
  absl::SleepFor(absl::Milliseconds(500));
  const int64_t held = written.load();
  EXPECT_LT(held, kMany / 2);
  Outcome outcome;
  ReadAll(stream.get(), &outcome);
  writer.join();
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(outcome.gradient_rows, kMany);
  EXPECT_TRUE(outcome.has_result);
}

TEST_F(RowsTest, ATargetOutOfRangeInALateChunkEndsTheStream) {
  v1::ComputeGradientRequest request;
  auto* loss = request.mutable_evaluation()->mutable_cross_entropy();
  SetTensor(loss->mutable_target(), v1::DTYPE_INT32, {kRows});
  SetTensor(loss->mutable_input(), v1::DTYPE_FLOAT32, {kRows, kClasses});
  request.mutable_evaluation()->set_normalizer(8);
  std::vector<v1::StreamRowsRequest> messages = {HeadOf(request)};
  for (int64_t row = 0; row < kRows; ++row) {
    v1::StreamRowsRequest chunk = ChunkOf({{"input", &logits_}}, row, 1);
    const auto label = static_cast<int32_t>(row == 57 ? kClasses : row);
    auto* target = chunk.mutable_chunk()->add_tensors();
    target->set_name("target");
    target->set_data(&label, 4);
    messages.push_back(chunk);
  }
  const Outcome outcome = Refused(messages, "TARGET_OUT_OF_RANGE");
  EXPECT_THAT(outcome.status.error_message(),
              HasSubstr("target[57] = 300 is outside [0, 300): input of shape "
                        "[61, 300]"));
  EXPECT_EQ(DetailsOf(outcome.status).bad_request.field_violations(0).field(),
            "evaluation.cross_entropy.target");
}

TEST_F(RowsTest, FewerRowsThanTheHeadHasAreAnError) {
  Outcome outcome =
      Refused({HeadOf(CrossEntropy()), ChunkOf({{"input", &logits_}}, 0, 60)},
              "SHAPE_MISMATCH");
  EXPECT_THAT(outcome.status.error_message(),
              HasSubstr("the stream ended after 60 of 61 rows"));
}

TEST_F(RowsTest, MoreRowsThanTheHeadHasAreAnError) {
  const Outcome outcome =
      Refused({HeadOf(CrossEntropy()), ChunkOf({{"input", &logits_}}, 0, 60),
               ChunkOf({{"input", &logits_}}, 0, 2)},
              "SHAPE_MISMATCH");
  EXPECT_THAT(outcome.status.error_message(),
              HasSubstr("chunk.rows = 2, but 1 of 61 rows are left"));
}

TEST_F(RowsTest, AChunkWithoutRowsIsAnError) {
  Refused({HeadOf(CrossEntropy()), ChunkOf({{"input", &logits_}}, 0, 0)},
          "SHAPE_MISMATCH");
}

TEST_F(RowsTest, TheDataOfAChunkHasTheLengthOfItsRows) {
  v1::StreamRowsRequest chunk = ChunkOf({{"input", &logits_}}, 0, 2);
  chunk.mutable_chunk()->mutable_tensors(0)->mutable_data()->pop_back();
  const Outcome outcome =
      Refused({HeadOf(CrossEntropy()), chunk}, "LENGTH_MISMATCH");
  EXPECT_EQ(DetailsOf(outcome.status).bad_request.field_violations(0).field(),
            "chunk.tensors[0].data");
}

TEST_F(RowsTest, AChunkHasEachStreamedTensorOnceAndNoOther) {
  const Outcome outcome =
      Refused({HeadOf(SquaredError()), ChunkOf({{"input", &logits_}}, 0, 2)},
              "TENSOR_MISSING");
  EXPECT_THAT(outcome.status.error_message(),
              HasSubstr("target is missing: each chunk has the rows of input, "
                        "target."));
}

TEST_F(RowsTest, ATensorThatIsNotStreamedHasNoPlaceInAChunk) {
  Refused({HeadOf(CrossEntropy()),
           ChunkOf({{"input", &logits_}, {"weight", &logits_}}, 0, 2)},
          "OPTION_INVALID");
}

TEST_F(RowsTest, ATensorTwiceInAChunkIsAnError) {
  Refused({HeadOf(CrossEntropy()),
           ChunkOf({{"input", &logits_}, {"input", &logits_}}, 0, 2)},
          "OPTION_INVALID");
}

TEST_F(RowsTest, TheHeadComesFirstAndOnce) {
  Refused({ChunkOf({{"input", &logits_}}, 0, 2)}, "MALFORMED_REQUEST");
}

TEST_F(RowsTest, ASecondHeadIsAnError) {
  Refused({HeadOf(CrossEntropy()), HeadOf(CrossEntropy())},
          "MALFORMED_REQUEST");
}

TEST_F(RowsTest, NoMessageAtAllIsAnError) { Refused({}, "MALFORMED_REQUEST"); }

TEST_F(RowsTest, AnUnknownFieldOfAChunkIsNotIgnored) {
  v1::StreamRowsRequest chunk = ChunkOf({{"input", &logits_}}, 0, 61);
  v1::RowsChunk* rows = chunk.mutable_chunk();
  rows->GetReflection()->MutableUnknownFields(rows)->AddVarint(77, 1);
  const Outcome outcome = Run({HeadOf(CrossEntropy()), chunk});
  EXPECT_EQ(outcome.status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(DetailsOf(outcome.status).info.reason(), "UNKNOWN_FIELD");
}

TEST_F(RowsTest, WhatIsWrongWithTheHeadIsSaidAsInAUnaryCall) {
  v1::ComputeGradientRequest request = CrossEntropy();
  request.mutable_evaluation()->mutable_cross_entropy()->set_label_smoothing(2);
  const Outcome outcome = Refused({HeadOf(request)}, "PARAMETER_OUT_OF_RANGE");
  EXPECT_EQ(DetailsOf(outcome.status).info.metadata().at("loss"),
            "cross_entropy");
}

TEST_F(RowsTest, ACancelledStreamLetsGoOfEverything) {
  const auto stream = stub_->StreamRows(&context_);
  ASSERT_TRUE(stream->Write(HeadOf(CrossEntropy())));
  ASSERT_TRUE(stream->Write(ChunkOf({{"input", &logits_}}, 0, 3)));
  v1::StreamRowsResponse response;
  ASSERT_TRUE(stream->Read(&response));
  context_.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  for (int i = 0;
       i < 500 && !absl::StrContains(server_.Metrics(), "lossd_in_flight 0");
       ++i) {
    absl::SleepFor(absl::Milliseconds(10));
  }
  EXPECT_THAT(server_.Metrics(), HasSubstr("lossd_in_flight 0"));
}

}  // namespace
}  // namespace lossd
