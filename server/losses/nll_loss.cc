// SPDX-License-Identifier: Apache-2.0

#include "server/losses/checks.h"
#include "server/losses/loss.h"

namespace lossd::nll_loss {
namespace {

enum Slot { kInput, kTarget, kWeight };
enum Parameter { kIgnoreIndex };

const LossSchema& Schema() {
  static const LossSchema schema = {
      .name = "nll_loss",
      .summary = "The negative log-likelihood of class indices.",
      .formula = "-weight[target] * input[target]",
      .denominator =
          "the sum of weight[target] over the samples that are not "
          "ignored",
      .source = "torch.nn.functional.nll_loss of PyTorch 2.15.0",
      .cost_rule = "2 operations an element",
      .differences = {"int32 class indices are accepted too."},
      .tensors = {InputSchema("[C], [N, C] or [N, C, *]",
                              "The log-probabilities."),
                  {.name = "target",
                   .role = TensorRole::kTarget,
                   .dtypes = DtypeRule::kClassIndex,
                   .required = true,
                   .shape_rule = "input's without the class dimension",
                   .description = "Class indices in [0, C)."},
                  WeightSchema("weight", "[C]", "The weight of each class.")},
      .parameters = {IgnoreIndexSchema()},
      .has_probabilities = true,
  };
  return schema;
}

void CheckShapes(const Arguments& arguments, Violations* violations) {
  CheckClassShapes(Schema(), arguments, kTarget, kWeight, violations);
}

Geometry Plan(const Arguments& arguments, Violations* violations) {
  Geometry geometry = ClassGeometry(Schema(), arguments);
  const ClassCounts counts = CountClasses(
      Schema(), arguments, kTarget, kWeight,
      static_cast<int64_t>(geometry.parameters[kIgnoreIndex]), "", violations);
  geometry.ignored_count = counts.ignored;
  geometry.mean_denominator = counts.weight;
  geometry.counted = counts.known;
  geometry.label_only = true;
  geometry.denominator_known = counts.known;
  return geometry;
}

}  // namespace

const LossDefinition& Definition() {
  static const LossDefinition definition = {Schema(), CheckShapes, Plan, 2};
  return definition;
}

}  // namespace lossd::nll_loss
