// SPDX-License-Identifier: Apache-2.0

#include <optional>

#include "server/losses/checks.h"
#include "server/losses/loss.h"

namespace lossd::multi_margin_loss {
namespace {

enum Slot { kInput, kTarget, kWeight };

const LossSchema& Schema() {
  static const LossSchema schema = {
      .name = "multi_margin_loss",
      .summary = "How much the score of the right class exceeds each other.",
      .formula =
          "sum over i != target of weight[target] * "
          "max(0, margin - input[target] + input[i])^p / C",
      .denominator = "the number of samples, whatever weight is",
      .source = "torch.nn.functional.multi_margin_loss of PyTorch 2.15.0",
      .cost_rule = "20 operations an element",
      .differences =
          {"float16, bfloat16, and int32 and uint8 class indices are "
           "accepted too.",
           "No samples give NaN under a mean and 0 under a sum; "
           "PyTorch returns memory that nobody wrote."},
      .tensors = {InputSchema("[C] or [N, C]", "The scores."),
                  {.name = "target",
                   .role = TensorRole::kTarget,
                   .dtypes = DtypeRule::kClassIndex,
                   .required = true,
                   .shape_rule = "[] or [N]",
                   .description = "Class indices in [0, C)."},
                  WeightSchema("weight", "[C]", "The weight of each class.")},
      .parameters = {{.name = "p",
                      .type = ParameterType::kInt64,
                      .default_value = 1,
                      .range = "[1, 2]",
                      .description = "The power.",
                      .minimum = 1,
                      .maximum = 2},
                     MarginSchema(1, false,
                                  "How much greater the right score should "
                                  "be.")},
  };
  return schema;
}

void CheckShapes(const Arguments& arguments, Violations* violations) {
  CheckScores(Schema(), arguments, violations);
  if (!violations->empty()) return;
  CheckClassShapes(Schema(), arguments, kTarget, kWeight, violations);
}

Geometry Plan(const Arguments& arguments, Violations* violations) {
  Geometry geometry = ClassGeometry(Schema(), arguments);
  const ClassCounts counts = CountClasses(Schema(), arguments, kTarget, kWeight,
                                          std::nullopt, "", violations);
  geometry.counted = counts.known;
  return geometry;
}

}  // namespace

const LossDefinition& Definition() {
  static const LossDefinition definition = {Schema(), CheckShapes, Plan, 20};
  return definition;
}

}  // namespace lossd::multi_margin_loss
