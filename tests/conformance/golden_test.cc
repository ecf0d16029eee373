// SPDX-License-Identifier: Apache-2.0
//
// Every golden vector of PyTorch 2.15.0, through the engine, on every kernel
// table of this CPU and on the scalar reference, within assert_close's
// tolerance.

#include <cmath>
#include <memory>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/cpu_backend.h"
#include "server/engine/engine.h"
#include "server/kernels/cpu/cpu_kernels.h"
#include "tests/conformance/golden_case.h"

namespace lossd {
namespace {

// torch.testing.assert_close's defaults.
struct Tolerance {
  double relative;
  double absolute;
};
Tolerance ToleranceOf(Dtype dtype) {
  switch (dtype) {
    case Dtype::kFloat16:
      return {1e-3, 1e-5};
    case Dtype::kBfloat16:
      return {1.6e-2, 1e-5};
    case Dtype::kFloat32:
      return {1.3e-6, 1e-5};
    default:
      return {1e-7, 1e-7};
  }
}

bool Close(double actual, double expected, Dtype dtype) {
  if (std::isnan(expected)) return std::isnan(actual);
  if (std::isinf(expected) || std::isinf(actual)) return actual == expected;
  const Tolerance tolerance = ToleranceOf(dtype);
  return std::abs(actual - expected) <=
         tolerance.absolute + tolerance.relative * std::abs(expected);
}

TensorView ViewOf(const OwnedTensor& tensor) {
  TensorView view;
  view.dtype = tensor.dtype;
  view.shape = tensor.shape;
  view.elements = ElementCount(tensor.shape).value();
  view.data = tensor.data.data();
  return view;
}

void ExpectClose(const OwnedTensor& actual, const TensorView& expected,
                 const std::string& what) {
  const TensorView view = ViewOf(actual);
  ASSERT_EQ(view.dtype, expected.dtype) << what;
  ASSERT_EQ(ShapeName(view.shape), ShapeName(expected.shape)) << what;
  for (int64_t i = 0; i < view.elements; ++i) {
    ASSERT_TRUE(Close(view.ValueAt(i), expected.ValueAt(i), view.dtype))
        << what << IndexName(i, view.shape) << " = " << view.ValueAt(i)
        << ", expected " << expected.ValueAt(i);
  }
}

void ExpectResult(const GoldenCase& golden, const Result& result) {
  ExpectClose(result.loss_tensor, golden.loss, "loss");
  if (golden.elementwise.present()) {
    ExpectClose(result.elementwise_losses, golden.elementwise, "elementwise");
  }
  ASSERT_EQ(result.gradients.size(), golden.gradients.size());
  for (const GradientValue& gradient : result.gradients) {
    ExpectClose(gradient.value, golden.gradients.at(std::string(gradient.wrt)),
                absl::StrCat("gradient of ", gradient.wrt));
  }
  ASSERT_EQ(result.metrics.size(), golden.metrics.size());
  for (const MetricValue& metric : result.metrics) {
    const auto& [numerator, denominator] =
        golden.metrics.at(std::string(metric.name));
    EXPECT_TRUE(Close(metric.numerator, numerator, Dtype::kFloat32))
        << metric.name << " " << metric.numerator << " " << numerator;
    EXPECT_EQ(metric.denominator, denominator) << metric.name;
  }
}

// The targets, by name: those of this CPU, and the reference.
std::vector<std::string> Targets() {
  std::vector<std::string> targets = {"reference"};
  for (const KernelTable& table : CpuKernels()) targets.push_back(table.target);
  return targets;
}

std::vector<std::string> LossNames() {
  std::vector<std::string> names;
  for (const LossDefinition* loss : AllLosses()) {
    names.emplace_back(loss->schema.name);
  }
  return names;
}

class GoldenTest
    : public testing::TestWithParam<std::tuple<std::string, std::string>> {};

TEST_P(GoldenTest, EveryCaseIsWithinPyTorchsTolerance) {
  const auto& [loss, target] = GetParam();
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(target == "reference" ? MakeReferenceBackend()
                                           : MakeCpuBackend(2, target).value());
  const Engine engine(EngineLimits(), std::move(backends), DeviceClass::kCpu);
  int passed = 0;
  const std::vector<GoldenCase> cases = LoadGoldenCases(loss);
  ASSERT_GE(cases.size(), 50u);
  for (const GoldenCase& golden : cases) {
    SCOPED_TRACE(golden.name);
    Violations violations;
    std::unique_ptr<Task> task = engine.Prepare(golden.evaluation, &violations);
    if (task != nullptr) {
      Task* tasks[] = {task.get()};
      engine.Run(tasks);
    }
    const bool failed = task == nullptr || !task->violations.empty();
    EXPECT_EQ(failed, !golden.error.empty())
        << (task ? task->violations : violations).count() << " violations: "
        << (violations.empty() ? "" : violations.kept()[0].description);
    if (failed || !golden.error.empty()) continue;
    ExpectResult(golden, task->result);
    if (HasFatalFailure()) continue;
    ++passed;
  }
  RecordProperty("cases", static_cast<int>(cases.size()));
  RecordProperty("passed", passed);
}

INSTANTIATE_TEST_SUITE_P(Conformance, GoldenTest,
                         testing::Combine(testing::ValuesIn(LossNames()),
                                          testing::ValuesIn(Targets())),
                         [](const auto& info) {
                           return absl::StrCat(std::get<0>(info.param), "_on_",
                                               std::get<1>(info.param));
                         });

}  // namespace
}  // namespace lossd
