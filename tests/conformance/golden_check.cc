// SPDX-License-Identifier: Apache-2.0

#include "tests/conformance/golden_check.h"

#include <cmath>
#include <memory>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
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

}  // namespace

void ExpectSameAnswer(const Result& actual, const Result& expected,
                      int64_t underflow) {
  const auto same = [](const OwnedTensor& a, const OwnedTensor& b,
                       const char* what) {
    if (b.dtype != Dtype::kUnspecified) ExpectClose(a, ViewOf(b), what);
  };
  same(actual.loss_tensor, expected.loss_tensor, "loss");
  same(actual.elementwise_losses, expected.elementwise_losses, "elementwise");
  same(actual.probabilities, expected.probabilities, "probabilities");
  same(actual.log_probabilities, expected.log_probabilities,
       "log_probabilities");
  same(actual.predicted_classes, expected.predicted_classes,
       "predicted_classes");
  ASSERT_EQ(actual.gradients.size(), expected.gradients.size());
  for (size_t i = 0; i < actual.gradients.size(); ++i) {
    same(actual.gradients[i].value, expected.gradients[i].value, "gradient");
  }
  ASSERT_EQ(actual.metrics.size(), expected.metrics.size());
  for (size_t i = 0; i < actual.metrics.size(); ++i) {
    EXPECT_TRUE(Close(actual.metrics[i].numerator,
                      expected.metrics[i].numerator, Dtype::kFloat32))
        << actual.metrics[i].name;
  }
  EXPECT_NEAR(
      static_cast<double>(actual.gradient_underflow_count.value_or(-1)),
      static_cast<double>(expected.gradient_underflow_count.value_or(-1)),
      static_cast<double>(underflow));
  EXPECT_EQ(actual.non_finite.input_nan, expected.non_finite.input_nan);
  EXPECT_EQ(actual.non_finite.input_infinity,
            expected.non_finite.input_infinity);
  EXPECT_EQ(actual.non_finite.result_nan, expected.non_finite.result_nan);
  EXPECT_EQ(actual.non_finite.result_infinity,
            expected.non_finite.result_infinity);
}

std::vector<std::string> LossNames() {
  std::vector<std::string> names;
  for (const LossDefinition* loss : AllLosses()) {
    names.emplace_back(loss->schema.name);
  }
  return names;
}

void CheckGoldenCases(const std::string& loss, const Engine& engine) {
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
    const int failures = testing::UnitTest::GetInstance()
                             ->current_test_info()
                             ->result()
                             ->total_part_count();
    ExpectResult(golden, task->result);
    passed += testing::UnitTest::GetInstance()
                  ->current_test_info()
                  ->result()
                  ->total_part_count() == failures;
  }
  testing::Test::RecordProperty("cases", static_cast<int>(cases.size()));
  testing::Test::RecordProperty("passed", passed);
}

}  // namespace lossd
