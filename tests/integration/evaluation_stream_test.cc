// SPDX-License-Identifier: Apache-2.0

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "google/rpc/status.pb.h"
#include "grpcpp/client_context.h"
#include "gtest/gtest.h"
#include "tests/integration/test_server.h"

namespace lossd {
namespace {

using Stream = grpc::ClientReaderWriter<v1::StreamGradientRequest,
                                        v1::StreamGradientResponse>;

// mse_loss of `count` float32 numbers, the first of which is `first`.
v1::ComputeGradientRequest MakeRequest(float first, int count = 4) {
  v1::ComputeGradientRequest request;
  v1::MseLoss* loss = request.mutable_evaluation()->mutable_mse_loss();
  for (v1::Tensor* tensor : {loss->mutable_input(), loss->mutable_target()}) {
    tensor->set_dtype(v1::DTYPE_FLOAT32);
    tensor->add_shape(count);
    std::vector<float> values(static_cast<size_t>(count), 0.5f);
    if (tensor == &loss->input()) values[0] = first;
    tensor->set_data(values.data(), values.size() * sizeof(float));
  }
  return request;
}

class EvaluationStreamTest : public testing::Test {
 protected:
  EvaluationStreamTest() : stub_(server_.NewStub()) {}

  std::unique_ptr<Stream> Open(grpc::ClientContext* context) {
    return stub_->StreamGradient(context);
  }

  // The answer of the ordinary call, without how it was run.
  v1::Result Solitary(const v1::ComputeGradientRequest& request) {
    grpc::ClientContext context;
    v1::ComputeGradientResponse response;
    const grpc::Status status =
        stub_->ComputeGradient(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.result();
  }

  // Reads until the stream ends.
  static std::map<int64_t, v1::GradientOutcome> ReadAll(Stream* stream) {
    std::map<int64_t, v1::GradientOutcome> outcomes;
    v1::StreamGradientResponse response;
    while (stream->Read(&response)) {
      for (const v1::GradientOutcome& outcome : response.outcomes()) {
        EXPECT_TRUE(outcomes.emplace(outcome.id(), outcome).second)
            << outcome.id() << " was answered twice";
      }
    }
    return outcomes;
  }

  TestServer server_;
  std::unique_ptr<v1::LossService::Stub> stub_;
};

TEST_F(EvaluationStreamTest, EveryEvaluationHasTheAnswerOfItsCall) {
  grpc::ClientContext context;
  const std::unique_ptr<Stream> stream = Open(&context);
  constexpr int kCount = 500;
  std::thread writer([&] {
    for (int i = 0; i < kCount;) {
      // Messages of one evaluation, of two, ...
      v1::StreamGradientRequest message;
      for (int k = 0; k <= i % 7 && i < kCount; ++k, ++i) {
        v1::StreamedGradient* streamed = message.add_evaluations();
        streamed->set_id(i);
        *streamed->mutable_request() = MakeRequest(static_cast<float>(i));
      }
      ASSERT_TRUE(stream->Write(message));
    }
    stream->WritesDone();
  });
  const auto outcomes = ReadAll(stream.get());
  writer.join();
  EXPECT_TRUE(stream->Finish().ok());
  ASSERT_EQ(outcomes.size(), static_cast<size_t>(kCount));
  for (const auto& [id, outcome] : outcomes) {
    ASSERT_TRUE(outcome.has_response()) << outcome.error().message();
    EXPECT_EQ(outcome.response().result().SerializeAsString(),
              Solitary(MakeRequest(static_cast<float>(id))).SerializeAsString())
        << id;
  }
}

TEST_F(EvaluationStreamTest, LargeEvaluationsAreAnsweredToo) {
  grpc::ClientContext context;
  const std::unique_ptr<Stream> stream = Open(&context);
  constexpr int kCount = 12;
  constexpr int kElements = 200000;
  std::thread writer([&] {
    for (int i = 0; i < kCount; ++i) {
      v1::StreamGradientRequest message;
      message.add_evaluations()->set_id(i + 1);
      *message.mutable_evaluations(0)->mutable_request() =
          MakeRequest(static_cast<float>(i), kElements);
      ASSERT_TRUE(stream->Write(message));
    }
    stream->WritesDone();
  });
  const auto outcomes = ReadAll(stream.get());
  writer.join();
  EXPECT_TRUE(stream->Finish().ok());
  ASSERT_EQ(outcomes.size(), static_cast<size_t>(kCount));
  const v1::Result expected = Solitary(MakeRequest(3, kElements));
  EXPECT_EQ(outcomes.at(4).response().result().SerializeAsString(),
            expected.SerializeAsString());
}

TEST_F(EvaluationStreamTest, OneThatFailsDoesNotConcernTheOthers) {
  grpc::ClientContext context;
  const std::unique_ptr<Stream> stream = Open(&context);
  v1::StreamGradientRequest message;
  for (int id : {10, 20, 30}) {
    v1::StreamedGradient* streamed = message.add_evaluations();
    streamed->set_id(id);
    *streamed->mutable_request() = MakeRequest(1);
  }
  message.mutable_evaluations(1)
      ->mutable_request()
      ->mutable_evaluation()
      ->mutable_mse_loss()
      ->mutable_input()
      ->set_shape(0, 3);
  ASSERT_TRUE(stream->Write(message));
  stream->WritesDone();
  const auto outcomes = ReadAll(stream.get());
  EXPECT_TRUE(stream->Finish().ok());
  ASSERT_EQ(outcomes.size(), 3u);
  EXPECT_TRUE(outcomes.at(10).has_response());
  EXPECT_TRUE(outcomes.at(30).has_response());
  const v1::EvaluationError& error = outcomes.at(20).error();
  EXPECT_EQ(error.code(), grpc::StatusCode::INVALID_ARGUMENT);
  // It is a google.rpc.Status, with the details of a call's.
  google::rpc::Status status;
  ASSERT_TRUE(status.ParseFromString(error.SerializeAsString()));
  EXPECT_EQ(status.message(), error.message());
  google::rpc::ErrorInfo info;
  ASSERT_GE(status.details_size(), 1);
  ASSERT_TRUE(status.details(0).UnpackTo(&info));
  EXPECT_EQ(info.reason(), "LENGTH_MISMATCH");
}

TEST_F(EvaluationStreamTest, NumbersAreAnsweredWithNumbers) {
  grpc::ClientContext context;
  const std::unique_ptr<Stream> stream = Open(&context);
  ASSERT_TRUE(stream->Write(FromJson<v1::StreamGradientRequest>(
      R"({"evaluations": [{"id": 7, "request": {"evaluation": {"mse_loss": {
          "input": {"values": [1, 2]}, "target": {"values": [1, 4]}}}}}]})")));
  stream->WritesDone();
  const auto outcomes = ReadAll(stream.get());
  EXPECT_TRUE(stream->Finish().ok());
  ASSERT_EQ(outcomes.count(7), 1u);
  const v1::Result& result = outcomes.at(7).response().result();
  EXPECT_EQ(result.loss(), 2);
  EXPECT_TRUE(result.gradients(0).value().has_values());
}

TEST_F(EvaluationStreamTest, AnUnknownFieldFailsItsEvaluation) {
  grpc::ClientContext context;
  const std::unique_ptr<Stream> stream = Open(&context);
  v1::StreamGradientRequest message;
  for (int id : {1, 2}) {
    message.add_evaluations()->set_id(id);
    *message.mutable_evaluations(id - 1)->mutable_request() = MakeRequest(1);
  }
  v1::StreamedGradient* first = message.mutable_evaluations(0);
  first->GetReflection()->MutableUnknownFields(first)->AddVarint(900, 1);
  ASSERT_TRUE(stream->Write(message));
  stream->WritesDone();
  const auto outcomes = ReadAll(stream.get());
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(outcomes.at(1).error().code(),
            grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_TRUE(outcomes.at(2).has_response());
}

TEST_F(EvaluationStreamTest, AnEmptyStreamEndsWell) {
  grpc::ClientContext context;
  const std::unique_ptr<Stream> stream = Open(&context);
  ASSERT_TRUE(stream->Write(v1::StreamGradientRequest()));
  stream->WritesDone();
  EXPECT_TRUE(ReadAll(stream.get()).empty());
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(EvaluationStreamTest, TheServerStopsReadingWhileNobodyReads) {
  grpc::ClientContext context;
  const std::unique_ptr<Stream> stream = Open(&context);
  constexpr int kCount = 300;
  constexpr int kElements = 100000;
  std::thread writer([&] {
    for (int i = 0; i < kCount; ++i) {
      v1::StreamGradientRequest message;
      message.add_evaluations()->set_id(i);
      *message.mutable_evaluations(0)->mutable_request() =
          MakeRequest(static_cast<float>(i), kElements);
      ASSERT_TRUE(stream->Write(message));
    }
    stream->WritesDone();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  // Of 240 MB of requests far from all were let in.
  EXPECT_EQ(server_.Metrics().find("method=\"StreamGradient\"} 300"),
            std::string::npos);
  EXPECT_EQ(ReadAll(stream.get()).size(), static_cast<size_t>(kCount));
  writer.join();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(EvaluationStreamTest, ACancelledStreamLeavesNothingBehind) {
  for (int i = 0; i < 20; ++i) {
    grpc::ClientContext context;
    const std::unique_ptr<Stream> stream = Open(&context);
    v1::StreamGradientRequest message;
    for (int id = 0; id < 50; ++id) {
      message.add_evaluations()->set_id(id);
      *message.mutable_evaluations(id)->mutable_request() =
          MakeRequest(1, 5000);
    }
    ASSERT_TRUE(stream->Write(message));
    context.TryCancel();
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  grpc::ClientContext context;
  const std::unique_ptr<Stream> stream = Open(&context);
  v1::StreamGradientRequest message;
  message.add_evaluations()->set_id(1);
  *message.mutable_evaluations(0)->mutable_request() = MakeRequest(1);
  ASSERT_TRUE(stream->Write(message));
  stream->WritesDone();
  EXPECT_EQ(ReadAll(stream.get()).size(), 1u);
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(EvaluationStreamTest, StreamsOfLossesToo) {
  grpc::ClientContext context;
  const auto stream = stub_->StreamLoss(&context);
  v1::StreamLossRequest message;
  message.add_evaluations()->set_id(5);
  *message.mutable_evaluations(0)->mutable_request()->mutable_evaluation() =
      MakeRequest(2.5f).evaluation();
  ASSERT_TRUE(stream->Write(message));
  stream->WritesDone();
  v1::StreamLossResponse response;
  ASSERT_TRUE(stream->Read(&response));
  ASSERT_EQ(response.outcomes_size(), 1);
  EXPECT_EQ(response.outcomes(0).id(), 5);
  EXPECT_EQ(response.outcomes(0).response().result().loss(), 1);
  EXPECT_EQ(response.outcomes(0).response().result().gradients_size(), 0);
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
}

}  // namespace
}  // namespace lossd
