// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/answer_writer.h"

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/cpu_backend.h"

namespace lossd {
namespace {

using ::testing::ElementsAre;

OwnedTensor MakeTensor(const Shape& shape, const std::vector<float>& elements) {
  OwnedTensor tensor = {Dtype::kFloat32, shape,
                        AlignedBuffer(static_cast<int64_t>(elements.size()) *
                                      static_cast<int64_t>(sizeof(float)))};
  std::memcpy(tensor.data.data(), elements.data(),
              elements.size() * sizeof(float));
  return tensor;
}

std::string TextOf(const grpc_slice& slice) {
  return {reinterpret_cast<const char*>(GRPC_SLICE_START_PTR(slice)),
          GRPC_SLICE_LENGTH(slice)};
}

std::string Join(const MessageBytes& bytes) {
  std::string all;
  for (const grpc_slice& slice : bytes.slices()) all += TextOf(slice);
  return all;
}

class AnswerWriterTest : public testing::Test {
 protected:
  AnswerWriterTest() : engine_(MakeEngine()) {
    task_.backend = engine_.backends()[0].get();
    task_.evaluation.loss = AllLosses()[kLoss];
    task_.loss_index = kLoss;
  }

  static Engine MakeEngine() {
    std::vector<std::unique_ptr<Backend>> backends;
    backends.push_back(MakeReferenceBackend());
    return Engine(EngineLimits(), std::move(backends), DeviceClass::kCpu);
  }

  MessageBytes WriteBytes(bool as_values = false) {
    const AnswerWriter writer({"0.1.0", "host-7"}, engine_);
    AnswerBytes answer = writer.Write(task_, as_values, {}, run_);
    length_ = answer.size();
    MessageBuilder message;
    std::move(answer).AppendTo(&message);
    EXPECT_EQ(message.size(), length_);
    return message.Build();
  }

  // The answer, which protobuf would have written in the same bytes.
  v1::ComputeGradientResponse Write(bool as_values = false) {
    const std::string bytes = Join(WriteBytes(as_values));
    EXPECT_EQ(length_, static_cast<int64_t>(bytes.size()));
    v1::ComputeGradientResponse response;
    EXPECT_TRUE(response.ParseFromString(bytes));
    EXPECT_EQ(response.SerializeAsString(), bytes);
    return response;
  }

  static constexpr size_t kLoss = 3;

  Engine engine_;
  Task task_;
  RunRecord run_;
  int64_t length_ = 0;
};

TEST_F(AnswerWriterTest, WhatWasNotComputedIsUnset) {
  task_.result.counted = false;
  const v1::Result wire = Write().result();
  EXPECT_FALSE(wire.has_loss());
  EXPECT_FALSE(wire.has_mean_numerator());
  EXPECT_FALSE(wire.has_mean_denominator());
  EXPECT_FALSE(wire.has_ignored_count());
  EXPECT_FALSE(wire.has_gradient_underflow_count());
  EXPECT_FALSE(wire.has_loss_tensor());
  EXPECT_FALSE(wire.has_predicted_classes());
  EXPECT_FALSE(wire.has_elementwise_losses());
  EXPECT_FALSE(wire.has_probabilities());
  EXPECT_FALSE(wire.has_log_probabilities());
  EXPECT_EQ(wire.gradients_size(), 0);
  EXPECT_EQ(wire.metrics_size(), 0);
}

TEST_F(AnswerWriterTest, ZeroIsNotUnset) {
  task_.result.loss = 0;
  task_.result.mean_numerator = 0;
  task_.result.gradient_underflow_count = 0;
  const v1::Result wire = Write().result();
  EXPECT_TRUE(wire.has_loss());
  EXPECT_TRUE(wire.has_mean_numerator());
  EXPECT_TRUE(wire.has_mean_denominator());
  EXPECT_TRUE(wire.has_element_count());
  EXPECT_TRUE(wire.has_ignored_count());
  EXPECT_TRUE(wire.has_gradient_underflow_count());
}

TEST_F(AnswerWriterTest, WhatWasComputedIsThere) {
  Result& result = task_.result;
  result.loss = 0.5;
  result.mean_numerator = 1;
  result.mean_denominator = 2;
  result.element_count = 3;
  result.ignored_count = 1;
  result.gradient_underflow_count = 7;
  result.non_finite.input_nan = true;
  result.metrics.push_back({"clip_fraction", 1, 4});
  result.metrics.push_back({"kl", 0, 0});
  result.loss_tensor = MakeTensor({}, {0.5f});
  result.elementwise_losses = MakeTensor({2}, {1, 2});
  result.probabilities = MakeTensor({0}, {});
  result.log_probabilities = MakeTensor({1}, {3});
  result.gradients.push_back({"input", MakeTensor({1, 2}, {1, -2})});
  const v1::Result wire = Write().result();
  EXPECT_EQ(wire.loss(), 0.5);
  EXPECT_EQ(wire.mean_numerator(), 1);
  EXPECT_EQ(wire.mean_denominator(), 2);
  EXPECT_EQ(wire.element_count(), 3);
  EXPECT_EQ(wire.ignored_count(), 1);
  EXPECT_EQ(wire.gradient_underflow_count(), 7);
  EXPECT_TRUE(wire.non_finite().input_nan());
  EXPECT_FALSE(wire.non_finite().result_nan());
  EXPECT_EQ(wire.metrics(0).name(), "clip_fraction");
  EXPECT_EQ(wire.metrics(0).denominator(), 4);
  EXPECT_EQ(wire.metrics(1).name(), "kl");
  EXPECT_EQ(wire.loss_tensor().dtype(), v1::DTYPE_FLOAT32);
  EXPECT_EQ(wire.loss_tensor().shape_size(), 0);
  EXPECT_EQ(wire.loss_tensor().data().size(), 4);
  EXPECT_EQ(wire.elementwise_losses().data().size(), 8);
  EXPECT_TRUE(wire.probabilities().has_data());
  EXPECT_EQ(wire.log_probabilities().data().size(), 4);
  EXPECT_EQ(wire.gradients(0).wrt(), "input");
  EXPECT_THAT(wire.gradients(0).value().shape(), ElementsAre(1, 2));
  EXPECT_EQ(wire.gradients(0).value().data().size(), 8);
}

TEST_F(AnswerWriterTest, LargeTensorsAreHandedOver) {
  std::vector<float> many(kLargeTensorBytes / 4);
  many.back() = 1.5f;
  task_.result.loss_tensor = MakeTensor({2048}, many);
  task_.result.probabilities = MakeTensor({1}, {1});
  task_.result.gradients.push_back({"input", MakeTensor({1}, {1})});
  task_.result.gradients.push_back({"target", MakeTensor({2048}, many)});
  const uint8_t* const loss = task_.result.loss_tensor.data.data();
  const uint8_t* const gradient = task_.result.gradients[1].value.data.data();
  const MessageBytes bytes = WriteBytes();
  ASSERT_EQ(bytes.slices().size(), 4u);
  EXPECT_EQ(GRPC_SLICE_START_PTR(bytes.slices()[1]), loss);
  EXPECT_EQ(GRPC_SLICE_START_PTR(bytes.slices()[3]), gradient);
  EXPECT_EQ(task_.result.loss_tensor.data.data(), nullptr);
  v1::ComputeGradientResponse response;
  const std::string joined = Join(bytes);
  ASSERT_TRUE(response.ParseFromString(joined));
  EXPECT_EQ(response.SerializeAsString(), joined);
  const std::string& data = response.result().gradients(1).value().data();
  EXPECT_EQ(std::memcmp(data.data(), many.data(), data.size()), 0);
}

TEST_F(AnswerWriterTest, LargeTensorsCanBeNumbers) {
  task_.result.gradients.push_back(
      {"input", MakeTensor({2048}, std::vector<float>(2048))});
  const v1::Tensor wire = Write(true).result().gradients(0).value();
  EXPECT_TRUE(wire.has_values());
  EXPECT_THAT(wire.shape(), ElementsAre(2048));
}

TEST_F(AnswerWriterTest, TensorsAreNumbersOnRequest) {
  task_.result.gradients.push_back({"input", MakeTensor({1, 2}, {1, -2})});
  const v1::Tensor tensor = Write(true).result().gradients(0).value();
  ASSERT_TRUE(tensor.has_values());
  EXPECT_THAT(tensor.shape(), ElementsAre(1, 2));
  EXPECT_EQ(tensor.values()
                .list_value()
                .values(0)
                .list_value()
                .values(1)
                .number_value(),
            -2);
}

TEST_F(AnswerWriterTest, NothingIsTakenFromAnAnswerThatIsNotSent) {
  task_.result.loss_tensor = MakeTensor({4096}, std::vector<float>(4096));
  const AnswerWriter writer({"0.1.0", "host-7"}, engine_);
  EXPECT_GT(writer.Write(task_, false, {}, run_).size(), 4 * 4096);
  EXPECT_NE(task_.result.loss_tensor.data.data(), nullptr);
}

TEST_F(AnswerWriterTest, ValidationTellsCountsOnly) {
  task_.evaluation.validate_only = true;
  task_.result.element_count = 3;
  task_.result.mean_denominator = 2;
  const v1::Result wire = Write().result();
  EXPECT_EQ(wire.element_count(), 3);
  EXPECT_EQ(wire.mean_denominator(), 2);
  EXPECT_FALSE(wire.has_non_finite());
}

TEST_F(AnswerWriterTest, TheRunIsTold) {
  run_ = {.batch_requests = 3,
          .batch_rows = 40,
          .queued = absl::Milliseconds(1),
          .computing = absl::Milliseconds(2500)};
  const v1::Execution wire = Write().execution();
  EXPECT_EQ(wire.instance(), "host-7");
  EXPECT_EQ(wire.version(), "0.1.0");
  EXPECT_EQ(wire.numerics_version(), kNumericsVersion);
  EXPECT_EQ(wire.backend(), task_.backend->name());
  EXPECT_EQ(wire.device(), task_.backend->devices()[0].name);
  EXPECT_EQ(wire.kernel(), AllLosses()[kLoss]->schema.name);
  EXPECT_EQ(wire.target(), task_.backend->devices()[0].target);
  EXPECT_EQ(wire.batch_requests(), 3);
  EXPECT_EQ(wire.batch_rows(), 40);
  EXPECT_EQ(wire.queued().nanos(), 1000000);
  EXPECT_EQ(wire.computing().seconds(), 2);
  EXPECT_EQ(wire.computing().nanos(), 500000000);
  EXPECT_FALSE(wire.has_copying());
}

}  // namespace
}  // namespace lossd
