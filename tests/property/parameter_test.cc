// SPDX-License-Identifier: Apache-2.0
//
// For each parameter and optional tensor of each loss, a case in which it
// changes the answer.

#include <algorithm>
#include <cstring>
#include <memory>
#include <set>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/conformance/golden_case.h"
#include "tests/unit/engine/engine_test_support.h"

namespace lossd {
namespace {

// The bytes of loss and gradients, or nothing where the evaluation is refused.
std::string AnswerBytes(const Engine& engine, const Evaluation& evaluation) {
  Violations violations;
  std::unique_ptr<Task> task = engine.Prepare(evaluation, &violations);
  if (task == nullptr) return "";
  Task* tasks[] = {task.get()};
  engine.Run(tasks);
  if (!task->violations.empty()) return "";
  std::string answer;
  const auto append = [&](const OwnedTensor& tensor) {
    answer.append(reinterpret_cast<const char*>(tensor.data.data()),
                  static_cast<size_t>(tensor.data.size()));
  };
  append(task->result.loss_tensor);
  for (const GradientValue& gradient : task->result.gradients) {
    append(gradient.value);
  }
  return answer;
}

TEST(ParameterTest, EveryParameterChangesSomeAnswer) {
  const Engine engine = MakeEngine();
  for (const LossDefinition* loss : AllLosses()) {
    const LossSchema& schema = loss->schema;
    std::set<std::string> changed;
    for (const GoldenCase& golden : LoadGoldenCases(std::string(schema.name))) {
      if (!golden.error.empty()) continue;
      if (changed.size() == schema.parameters.size()) break;
      const std::string answer = AnswerBytes(engine, golden.evaluation);
      for (size_t i = 0; i < schema.parameters.size(); ++i) {
        if (!golden.evaluation.arguments.parameters[i].has_value()) continue;
        if (changed.contains(std::string(schema.parameters[i].name))) continue;
        Evaluation without = golden.evaluation;
        without.arguments.parameters[i].reset();
        if (AnswerBytes(engine, without) != answer) {
          changed.emplace(schema.parameters[i].name);
        }
      }
    }
    for (const ParameterSchema& parameter : schema.parameters) {
      EXPECT_TRUE(changed.contains(std::string(parameter.name)))
          << schema.name << "." << parameter.name;
    }
  }
}

TEST(ParameterTest, EveryOptionalTensorChangesSomeAnswer) {
  const Engine engine = MakeEngine();
  for (const LossDefinition* loss : AllLosses()) {
    const LossSchema& schema = loss->schema;
    const auto optional = static_cast<size_t>(std::count_if(
        schema.tensors.begin(), schema.tensors.end(),
        [](const TensorSchema& tensor) { return !tensor.required; }));
    std::set<std::string> changed;
    for (const GoldenCase& golden : LoadGoldenCases(std::string(schema.name))) {
      if (!golden.error.empty()) continue;
      if (changed.size() == optional) break;
      const std::string answer = AnswerBytes(engine, golden.evaluation);
      for (size_t slot = 0; slot < schema.tensors.size(); ++slot) {
        if (schema.tensors[slot].required) continue;
        if (!golden.evaluation.arguments.has(static_cast<int>(slot))) continue;
        if (changed.contains(std::string(schema.tensors[slot].name))) continue;
        Evaluation without = golden.evaluation;
        without.arguments.tensors[slot] = TensorView();
        if (AnswerBytes(engine, without) != answer) {
          changed.emplace(schema.tensors[slot].name);
        }
      }
    }
    for (const TensorSchema& tensor : schema.tensors) {
      EXPECT_TRUE(tensor.required || changed.contains(std::string(tensor.name)))
          << schema.name << "." << tensor.name;
    }
  }
}

}  // namespace
}  // namespace lossd
