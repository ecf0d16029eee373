// SPDX-License-Identifier: Apache-2.0
//
// Kernels take a path that suits the values and the size of a job. Whatever the
// path, the answer has the same bits.

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/engine/cpu_backend.h"
#include "server/engine/engine.h"
#include "server/kernels/cpu/cpu_kernels.h"
#include "server/losses/loss.h"

namespace lossd {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TensorView Floats(const std::vector<float>& values, Shape shape) {
  TensorView view;
  view.dtype = Dtype::kFloat32;
  view.shape = std::move(shape);
  view.elements = static_cast<int64_t>(values.size());
  view.data = reinterpret_cast<const uint8_t*>(values.data());
  return view;
}

TensorView Labels(const std::vector<int64_t>& values) {
  TensorView view;
  view.dtype = Dtype::kInt64;
  view.shape = {static_cast<int64_t>(values.size())};
  view.elements = view.shape[0];
  view.data = reinterpret_cast<const uint8_t*>(values.data());
  return view;
}

// The result of a loss and its gradient with respect to the input.
std::unique_ptr<Task> Evaluated(const char* loss, const TensorView& input,
                                const TensorView& target,
                                const std::string& kernels) {
  Evaluation evaluation;
  evaluation.loss = FindLoss(loss);
  evaluation.gradient = true;
  evaluation.arguments.parameters.resize(
      evaluation.loss->schema.parameters.size());
  evaluation.arguments.tensors[0] = input;
  evaluation.arguments.tensors[1] = target;
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(MakeCpuBackend(2, kernels).value());
  EngineLimits limits;
  limits.max_response_bytes = limits.max_scratch_bytes = int64_t{1} << 30;
  const Engine engine(limits, std::move(backends), DeviceClass::kCpu);
  Violations violations;
  std::unique_ptr<Task> task = engine.Prepare(evaluation, &violations);
  if (task == nullptr) return nullptr;
  Task* const tasks[] = {task.get()};
  engine.Run(tasks);
  return task;
}

std::vector<float> GradientOf(const Task& task) {
  const Destination& to = task.job.gradients[0];
  std::vector<float> gradient(
      static_cast<size_t>(task.evaluation.arguments.tensor(0).elements));
  std::memcpy(gradient.data(), to.data, gradient.size() * sizeof(float));
  return gradient;
}

uint32_t BitsOf(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}

std::vector<float> Random(size_t count, float low, float high, int seed) {
  std::mt19937 random(static_cast<unsigned>(seed));
  std::uniform_real_distribution<float> between(low, high);
  std::vector<float> values(count);
  for (float& value : values) value = between(random);
  return values;
}

void ExpectSameOnEveryTarget(const char* loss, const TensorView& input,
                             const TensorView& target) {
  const auto portable = Evaluated(loss, input, target, "PORTABLE");
  ASSERT_NE(portable, nullptr);
  const std::vector<float> expected = GradientOf(*portable);
  for (const KernelTable& table : CpuKernels()) {
    if (table.target == "PORTABLE") continue;
    SCOPED_TRACE(table.target);
    const auto task = Evaluated(loss, input, target, table.target);
    ASSERT_NE(task, nullptr);
    const std::vector<float> gradient = GradientOf(*task);
    EXPECT_EQ(std::memcmp(gradient.data(), expected.data(),
                          expected.size() * sizeof(float)),
              0);
    const NonFinite& flags = task->result.non_finite;
    const NonFinite& others = portable->result.non_finite;
    EXPECT_EQ(flags.input_nan, others.input_nan);
    EXPECT_EQ(flags.input_infinity, others.input_infinity);
    EXPECT_EQ(flags.result_nan, others.result_nan);
    EXPECT_EQ(flags.result_infinity, others.result_infinity);
    EXPECT_EQ(task->result.gradient_underflow_count,
              portable->result.gradient_underflow_count);
  }
}

// More than the caches hold, and not a multiple of a leaf.
constexpr int64_t kMany = (int64_t{3} << 20) + 37;

TEST(PathsTest, ElementwiseGradientsBeyondTheCachesHaveTheSameBits) {
  for (const char* loss : {"mse_loss", "binary_cross_entropy_with_logits"}) {
    SCOPED_TRACE(loss);
    std::vector<float> x = Random(kMany, -8, 8, 1);
    std::vector<float> t = Random(kMany, 0, 1, 2);
    ExpectSameOnEveryTarget(loss, Floats(x, {kMany}), Floats(t, {kMany}));
    x[5000] = -kInfinity;
    x[70001] = std::nanf("");
    x[kMany - 1] = 1e-38f;
    t[kMany - 1] = 0;
    ExpectSameOnEveryTarget(loss, Floats(x, {kMany}), Floats(t, {kMany}));
  }
}

TEST(PathsTest, SoftmaxGradientsBeyondTheCachesHaveTheSameBits) {
  constexpr int64_t kRows = 1100;
  constexpr int64_t kClasses = 4096;
  std::vector<float> x = Random(kRows * kClasses, -20, 20, 3);
  std::vector<int64_t> labels(kRows);
  for (int64_t i = 0; i < kRows; ++i) labels[i] = i * 31 % kClasses;
  const Shape shape = {kRows, kClasses};
  ExpectSameOnEveryTarget("cross_entropy", Floats(x, shape), Labels(labels));
  // A row each: NaN, infinity, far below, and gradients that become 0.
  x[3 * kClasses + 9] = std::nanf("");
  x[5 * kClasses + 2000] = kInfinity;
  x[8 * kClasses + 77] = -kInfinity;
  for (int64_t i = 0; i < kClasses; i += 3) x[9 * kClasses + i] = -95;
  ExpectSameOnEveryTarget("cross_entropy", Floats(x, shape), Labels(labels));
}

// One more class, whose exponential is 0, changes how the rounding of x - max
// is found and nothing else.
TEST(PathsTest, AClassOfNoMassChangesNoBitOfTheOthers) {
  for (const int64_t n : {1, 15, 16, 17, 63, 1000, 1024, 3000}) {
    for (const auto& [low, high] : {std::pair{-8.0f, 7.9f},
                                    {-3.0f, 100.0f},
                                    {-60.0f, -1.0f},
                                    {-1e-3f, 1e-3f}}) {
      const std::vector<float> x =
          Random(static_cast<size_t>(n), low, high, static_cast<int>(n));
      const auto plain =
          Evaluated("cross_entropy", Floats(x, {1, n}), Labels({0}), "");
      ASSERT_NE(plain, nullptr);
      const std::vector<float> expected = GradientOf(*plain);
      for (const float far : {-1e4f, -1e30f, -3e38f, -kInfinity}) {
        SCOPED_TRACE(testing::Message() << n << " to " << high << ", " << far);
        std::vector<float> longer = x;
        longer.push_back(far);
        const auto task = Evaluated("cross_entropy", Floats(longer, {1, n + 1}),
                                    Labels({0}), "");
        ASSERT_NE(task, nullptr);
        EXPECT_EQ(*task->result.loss, *plain->result.loss);
        const std::vector<float> gradient = GradientOf(*task);
        for (int64_t i = 0; i < n; ++i) {
          ASSERT_EQ(BitsOf(gradient[i]), BitsOf(expected[i])) << i;
        }
        EXPECT_EQ(gradient.back(), 0.0f);
      }
    }
  }
}

}  // namespace
}  // namespace lossd
