// SPDX-License-Identifier: Apache-2.0
//
// Evaluations written as numbers, and what the engine answers.

#ifndef LOSSD_TESTS_UNIT_ENGINE_ENGINE_TEST_SUPPORT_H_
#define LOSSD_TESTS_UNIT_ENGINE_ENGINE_TEST_SUPPORT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "tests/unit/losses/test_arguments.h"

namespace lossd {

// An evaluation with the memory of its tensors. `options` holds everything but
// the loss, its arguments and grad_output.
class TestEvaluation {
 public:
  explicit TestEvaluation(absl::string_view loss) : arguments_(loss) {}

  template <class Value>
  TestEvaluation& Set(absl::string_view name, Value&& value) {
    arguments_.Set(name, std::forward<Value>(value));
    return *this;
  }
  TestEvaluation& Reduce(Reduction reduction) {
    options.reduction = reduction;
    return *this;
  }
  // Asks for gradients, of the default tensors if none is named.
  TestEvaluation& Gradient(std::vector<std::string> wrt = {}) {
    options.gradient = true;
    options.wrt = std::move(wrt);
    return *this;
  }
  TestEvaluation& GradOutput(TestTensor tensor) {
    grad_output_ = std::move(tensor);
    return *this;
  }
  TestEvaluation& Ask(std::vector<Output> outputs) {
    for (const Output output : outputs) options.outputs.Add(output);
    return *this;
  }

  Evaluation Make() const {
    Evaluation evaluation = options;
    evaluation.loss = &arguments_.loss();
    evaluation.arguments = arguments_.arguments();
    if (grad_output_) evaluation.grad_output = grad_output_->view();
    return evaluation;
  }
  const LossSchema& schema() const { return arguments_.loss().schema; }

  Evaluation options;

 private:
  TestArguments arguments_;
  std::optional<TestTensor> grad_output_;
};

// An engine on the backend under test (backend_under_test.h).
Engine MakeEngine(const EngineLimits& limits = EngineLimits());
Engine MakeEngine(const EngineLimits& limits, DeviceClass default_device);
const Engine& DefaultEngine();

// What was found wrong before or by the kernels, if anything.
Violations Refuse(const TestEvaluation& evaluation,
                  const Engine& engine = DefaultEngine(),
                  bool withhold_values = false);

// The only violation, of `reason` and at `field`: its words.
std::string OnlyRefusal(const Violations& violations, Reason reason,
                        const std::string& field);
inline std::string OnlyRefusal(const TestEvaluation& evaluation, Reason reason,
                               const std::string& field) {
  return OnlyRefusal(Refuse(evaluation), reason, field);
}

// The task of a good evaluation, after it has run.
std::unique_ptr<Task> RunTask(const TestEvaluation& evaluation);
Result Answer(const TestEvaluation& evaluation);

std::vector<double> ValuesOf(const OwnedTensor& tensor);

// Everything in a result, to the bit.
std::string Digest(const Result& result);

// One evaluation of each loss and of its main variants, whose samples, along
// dimension 0 of every sample-shaped tensor, can be taken apart.
struct SampleCase {
  struct Piece {
    std::string tensor;
    Dtype dtype;
    Shape shape;  // dimension `axis` is the samples', where `sliced`
    std::vector<double> values;
    bool sliced;
    size_t axis = 0;
  };
  std::string name;
  std::string loss;
  int64_t samples;
  std::vector<Piece> pieces;
  std::vector<std::pair<std::string, double>> parameters;

  // The axis of the samples in the tensor of that name.
  size_t AxisOf(absl::string_view tensor) const;

  // The samples [begin, end), their tensors `offset` bytes off alignment.
  TestEvaluation Rows(int64_t begin, int64_t end, size_t offset = 0) const;
  TestEvaluation All() const { return Rows(0, samples); }
};
std::vector<SampleCase> SampleCases(Dtype dtype, uint64_t seed = 42);

// The elements of a tensor whose subscript along `axis` is in [begin, end).
std::vector<double> Slice(const std::vector<double>& values, const Shape& shape,
                          size_t axis, int64_t begin, int64_t end);

}  // namespace lossd

#endif  // LOSSD_TESTS_UNIT_ENGINE_ENGINE_TEST_SUPPORT_H_
