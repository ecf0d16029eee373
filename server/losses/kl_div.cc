// SPDX-License-Identifier: Apache-2.0

#include "server/losses/checks.h"
#include "server/losses/loss.h"

namespace lossd::kl_div {
namespace {

enum Slot { kInput, kTarget };

const LossSchema& Schema() {
  static const LossSchema schema = {
      .name = "kl_div",
      .summary = "The Kullback-Leibler divergence of each element.",
      .formula =
          "target * (log(target) - input), or, with log_target, "
          "exp(target) * (target - input)",
      .denominator =
          "the number of elements; batchmean: the size of the first dimension",
      .source = "torch.nn.functional.kl_div of PyTorch 2.15.0",
      .cost_rule = "60 operations an element",
      .differences =
          {"Shapes that PyTorch broadcasts are an error.",
           "A target of no mass adds nothing even where input or its own "
           "logarithm is -infinity."},
      .tensors = {InputSchema("any", "The predicted log-probabilities."),
                  TargetSchema("input's",
                               "The wanted probabilities, or, with log_target, "
                               "log-probabilities.")},
      .parameters = {{.name = "log_target",
                      .type = ParameterType::kBool,
                      .default_value = 0,
                      .range = "false or true",
                      .description = "Whether target holds logarithms."}},
      .has_batch_mean = true,
  };
  return schema;
}

void CheckShapes(const Arguments& arguments, Violations* violations) {
  CheckSameShape(Schema(), arguments, kTarget, violations);
}

Geometry Plan(const Arguments& arguments, Violations*) {
  return ElementwiseGeometry(Schema(), arguments);
}

}  // namespace

const LossDefinition& Definition() {
  static const LossDefinition definition = {Schema(), CheckShapes, Plan, 60};
  return definition;
}

}  // namespace lossd::kl_div
