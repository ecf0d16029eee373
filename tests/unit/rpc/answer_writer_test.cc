// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/answer_writer.h"

#include <cstring>
#include <memory>
#include <string>
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

TEST(AnswerWriterTest, WhatWasNotComputedIsUnset) {
  Task task;
  v1::Result wire;
  WriteResult(task, false, &wire);
  EXPECT_FALSE(wire.has_loss());
  EXPECT_FALSE(wire.has_mean_numerator());
  EXPECT_FALSE(wire.has_gradient_underflow_count());
  EXPECT_FALSE(wire.has_loss_tensor());
  EXPECT_FALSE(wire.has_predicted_classes());
  EXPECT_FALSE(wire.has_elementwise_losses());
  EXPECT_FALSE(wire.has_probabilities());
  EXPECT_FALSE(wire.has_log_probabilities());
  EXPECT_EQ(wire.gradients_size(), 0);
  EXPECT_EQ(wire.metrics_size(), 0);
}

TEST(AnswerWriterTest, WhatWasComputedIsThere) {
  Task task;
  task.result.loss = 0.5;
  task.result.mean_numerator = 1;
  task.result.mean_denominator = 2;
  task.result.element_count = 3;
  task.result.ignored_count = 1;
  task.result.gradient_underflow_count = 0;
  task.result.non_finite.input_nan = true;
  task.result.metrics.push_back({"clip_fraction", 1, 4});
  task.result.loss_tensor = MakeTensor({}, {0.5f});
  task.result.gradients.push_back({"input", MakeTensor({1, 2}, {1, -2})});
  v1::Result wire;
  WriteResult(task, false, &wire);
  EXPECT_EQ(wire.loss(), 0.5);
  EXPECT_EQ(wire.mean_numerator(), 1);
  EXPECT_EQ(wire.mean_denominator(), 2);
  EXPECT_EQ(wire.element_count(), 3);
  EXPECT_EQ(wire.ignored_count(), 1);
  EXPECT_TRUE(wire.has_gradient_underflow_count());
  EXPECT_TRUE(wire.non_finite().input_nan());
  EXPECT_EQ(wire.metrics(0).name(), "clip_fraction");
  EXPECT_EQ(wire.metrics(0).denominator(), 4);
  EXPECT_EQ(wire.loss_tensor().dtype(), v1::DTYPE_FLOAT32);
  EXPECT_EQ(wire.loss_tensor().shape_size(), 0);
  EXPECT_EQ(wire.loss_tensor().data().size(), 4);
  EXPECT_EQ(wire.gradients(0).wrt(), "input");
  EXPECT_THAT(wire.gradients(0).value().shape(), ElementsAre(1, 2));
  EXPECT_EQ(wire.gradients(0).value().data().size(), 8);
}

TEST(AnswerWriterTest, LargeTensorsAreLeftOut) {
  Task task;
  const std::vector<float> many(kLargeTensorBytes / 4);
  task.result.loss_tensor = MakeTensor({2048}, many);
  task.result.probabilities = MakeTensor({1}, {1});
  task.result.gradients.push_back({"input", MakeTensor({1}, {1})});
  task.result.gradients.push_back({"target", MakeTensor({2048}, many)});
  v1::Result wire;
  const std::vector<LargeTensor> large = WriteResult(task, false, &wire);
  EXPECT_FALSE(wire.has_loss_tensor());
  EXPECT_TRUE(wire.has_probabilities());
  EXPECT_EQ(wire.gradients_size(), 0);
  ASSERT_EQ(large.size(), 3u);
  EXPECT_EQ(large[0].tensor, &task.result.loss_tensor);
  EXPECT_EQ(large[1].wrt, "input");
  EXPECT_EQ(large[2].wrt, "target");
  v1::Result numbers;
  EXPECT_TRUE(WriteResult(task, true, &numbers).empty());
  EXPECT_EQ(numbers.gradients_size(), 2);
}

TEST(AnswerWriterTest, TensorsAreNumbersOnRequest) {
  Task task;
  task.result.gradients.push_back({"input", MakeTensor({1, 2}, {1, -2})});
  v1::Result wire;
  WriteResult(task, true, &wire);
  const v1::Tensor& tensor = wire.gradients(0).value();
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

TEST(AnswerWriterTest, TheRunIsTold) {
  const std::unique_ptr<Backend> backend = MakeReferenceBackend();
  Task task;
  task.backend = backend.get();
  task.evaluation.loss = AllLosses()[0];
  v1::Execution wire;
  WriteExecution(task, {"0.1.0", "host-7"},
                 {.batch_requests = 3,
                  .batch_rows = 40,
                  .queued = absl::Milliseconds(1),
                  .computing = absl::Milliseconds(2500)},
                 &wire);
  EXPECT_EQ(wire.instance(), "host-7");
  EXPECT_EQ(wire.version(), "0.1.0");
  EXPECT_EQ(wire.numerics_version(), kNumericsVersion);
  EXPECT_EQ(wire.backend(), backend->name());
  EXPECT_EQ(wire.device(), backend->device());
  EXPECT_EQ(wire.kernel(), AllLosses()[0]->schema.name);
  EXPECT_EQ(wire.target(), backend->target());
  EXPECT_EQ(wire.batch_requests(), 3);
  EXPECT_EQ(wire.batch_rows(), 40);
  EXPECT_EQ(wire.queued().nanos(), 1000000);
  EXPECT_EQ(wire.computing().seconds(), 2);
  EXPECT_EQ(wire.computing().nanos(), 500000000);
  EXPECT_FALSE(wire.has_copying());
}

}  // namespace
}  // namespace lossd
