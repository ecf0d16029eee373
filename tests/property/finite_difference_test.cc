// SPDX-License-Identifier: Apache-2.0
//
// Every gradient against central differences of the loss, in float64, on the
// golden vectors: every loss, differentiable tensor, parameter and reduction.

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/conformance/golden_case.h"
#include "tests/unit/engine/backend_under_test.h"
#include "tests/unit/engine/engine_test_support.h"

namespace lossd {
namespace {

constexpr int64_t kMostElements = 300;

class Differences {
 public:
  std::unique_ptr<Task> Run(const Evaluation& evaluation) const {
    Violations violations;
    std::unique_ptr<Task> task = engine_.Prepare(evaluation, &violations);
    if (task == nullptr) return nullptr;
    Task* tasks[] = {task.get()};
    engine_.Run(tasks);
    return task->violations.empty() ? std::move(task) : nullptr;
  }

  // The sum of the loss times grad_output; NaN where the evaluation is refused.
  double Objective(const Evaluation& evaluation) const {
    const std::unique_ptr<Task> task = Run(evaluation);
    if (task == nullptr) return std::numeric_limits<double>::quiet_NaN();
    const OwnedTensor& loss = task->result.loss_tensor;
    const int64_t count = loss.data.size() / 8;
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) {
      double value;
      std::memcpy(&value, loss.data.data() + 8 * i, 8);
      const TensorView& g = evaluation.grad_output;
      if (g.present()) value *= g.ValueAt(g.elements == 1 ? 0 : i);
      sum += value;
    }
    return sum;
  }

  // The derivative with respect to the i-th element of a tensor, or nothing at
  // a kink, an infinity or the edge of a domain.
  std::optional<double> Slope(Evaluation evaluation, int slot,
                              int64_t i) const {
    TensorView& tensor = evaluation.arguments.tensors[slot];
    std::string bytes(reinterpret_cast<const char*>(tensor.data),
                      static_cast<size_t>(tensor.elements) * 8);
    tensor.data = reinterpret_cast<const uint8_t*>(bytes.data());
    const double x = tensor.ValueAt(i);
    const double h = 1e-5 * std::max(1e-2, std::abs(x));
    const auto at = [&](double value) {
      std::memcpy(bytes.data() + 8 * i, &value, 8);
      return Objective(evaluation);
    };
    const double here = at(x);
    const double right = (at(x + h) - here) / h;
    const double left = (here - at(x - h)) / h;
    const double wide = (at(x + 2 * h) - at(x - 2 * h)) / (4 * h);
    const double slope = (right + left) / 2;
    if (!std::isfinite(slope) || !std::isfinite(wide)) return std::nullopt;
    // The three agree to second order where the loss is smooth.
    const double noise =
        1e-3 * (std::abs(slope) + 1e-3 + 1e-9 * std::abs(here) / h);
    if (std::abs(right - left) > noise || std::abs(wide - slope) > noise) {
      return std::nullopt;
    }
    return slope;
  }

 private:
  const Engine engine_ = MakeEngine();
};

int SlotOf(const LossSchema& schema, absl::string_view name) {
  for (size_t slot = 0; slot < schema.tensors.size(); ++slot) {
    if (schema.tensors[slot].name == name) return static_cast<int>(slot);
  }
  return -1;
}

// Makes every floating tensor float64, of the same values.
void WidenTensors(GoldenCase* golden) {
  const auto widen = [golden](TensorView* view) {
    if (!IsFloating(view->dtype) || view->dtype == Dtype::kFloat64) return;
    auto wide = std::make_unique<GoldenTensor>();
    wide->bytes.resize(static_cast<size_t>(view->elements) * 8);
    for (int64_t i = 0; i < view->elements; ++i) {
      const double value = view->ValueAt(i);
      std::memcpy(wide->bytes.data() + 8 * i, &value, 8);
    }
    view->dtype = Dtype::kFloat64;
    view->data = reinterpret_cast<const uint8_t*>(wide->bytes.data());
    golden->memory.push_back(std::move(wide));
  };
  for (TensorView& view : golden->evaluation.arguments.tensors) widen(&view);
  widen(&golden->evaluation.grad_output);
}

// Where binary_cross_entropy clamps a logarithm at -100, its gradients are, as
// in PyTorch, not those of the clamped loss.
bool IsClamped(const Evaluation& evaluation, int64_t i) {
  if (evaluation.loss->schema.name != "binary_cross_entropy") return false;
  const double p = evaluation.arguments.tensor(0).ValueAt(i);
  return std::log(p) < -100 || std::log1p(-p) < -100;
}

// Whether the gradient is not the slope of the loss: GSPO's ratio and CISPO's
// are held constant, and CTC's is, by its convention, that of logits. The
// golden vectors, made by automatic differentiation, check those.
bool HoldsConstant(const Evaluation& evaluation) {
  const auto& parameters = evaluation.arguments.parameters;
  if (evaluation.loss->schema.name == "ctc_loss") {
    return parameters[2].value_or(1) == 1;
  }
  if (evaluation.loss->schema.name != "clipped_policy_loss") return false;
  const bool cispo = parameters[0].value_or(1) == 2;
  const bool sequence = parameters[1].value_or(1) == 2;
  return cispo || sequence;
}

// How many elements were compared, and how many lie at kinks.
struct Counts {
  int64_t checked = 0;
  int64_t kinks = 0;
};

void CheckCase(const Differences& differences, const GoldenCase& golden,
               Counts* counts) {
  const std::unique_ptr<Task> task = differences.Run(golden.evaluation);
  ASSERT_NE(task, nullptr) << golden.name;
  for (const GradientValue& gradient : task->result.gradients) {
    const int slot = SlotOf(golden.evaluation.loss->schema, gradient.wrt);
    const int64_t count = gradient.value.data.size() / 8;
    // All elements, or one in 32.
    const int64_t step = 32 / RepetitionsUnderTest(32);
    for (int64_t i = 0; i < count; i += step) {
      const std::optional<double> slope =
          differences.Slope(golden.evaluation, slot, i);
      if (!slope.has_value() || IsClamped(golden.evaluation, i)) {
        ++counts->kinks;
        continue;
      }
      double actual;
      std::memcpy(&actual, gradient.value.data.data() + 8 * i, 8);
      EXPECT_NEAR(actual, *slope, 2e-4 * std::abs(*slope) + 2e-6)
          << golden.name << " " << gradient.wrt << " " << i;
      ++counts->checked;
    }
  }
}

TEST(FiniteDifferenceTest, EveryGradientIsTheSlopeOfItsLoss) {
  const Differences differences;
  for (const LossDefinition* loss : AllLosses()) {
    Counts counts;
    for (GoldenCase& golden : LoadGoldenCases(std::string(loss->schema.name))) {
      // Edge values overflow, underflow or lie on kinks: differences say
      // nothing.
      const bool edge = golden.name.find("/edge/") != std::string::npos;
      if (edge || !golden.error.empty() || HoldsConstant(golden.evaluation) ||
          golden.evaluation.arguments.tensor(0).elements > kMostElements) {
        continue;
      }
      WidenTensors(&golden);
      CheckCase(differences, golden, &counts);
    }
    RecordProperty(std::string(loss->schema.name),
                   static_cast<int>(counts.checked));
    EXPECT_GT(counts.checked, RepetitionsUnderTest(400, 12))
        << loss->schema.name;
    EXPECT_LT(counts.kinks, counts.checked) << loss->schema.name;
  }
}

}  // namespace
}  // namespace lossd
