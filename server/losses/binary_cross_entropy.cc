// SPDX-License-Identifier: Apache-2.0

#include "server/losses/checks.h"
#include "server/losses/loss.h"

namespace lossd::binary_cross_entropy {
namespace {

enum Slot { kInput, kTarget, kWeight };

const LossSchema& Schema() {
  static const LossSchema schema = {
      .name = "binary_cross_entropy",
      .summary = "The cross-entropy of probabilities of a yes or no.",
      .formula =
          "-weight * (target * max(log(input), -100) + "
          "(1 - target) * max(log(1 - input), -100))",
      .denominator = "the number of elements, whatever weight is",
      .source = "torch.nn.functional.binary_cross_entropy of PyTorch 2.15.0",
      .cost_rule = "80 operations an element",
      .differences =
          {"Half precision is computed in float64, and rounded once: "
           "where input is exactly 0 or 1 and equals target, the "
           "gradient is 0, not NaN."},
      .tensors =
          {
              {.name = "input",
               .role = TensorRole::kInput,
               .dtypes = DtypeRule::kLeading,
               .required = true,
               .differentiable = true,
               .default_wrt = true,
               .shape_rule = "any",
               .description = "The predicted probabilities.",
               .minimum = 0,
               .maximum = 1,
               .domain_hint =
                   "For logits use binary_cross_entropy_with_logits."},
              {.name = "target",
               .role = TensorRole::kTarget,
               .dtypes = DtypeRule::kSameAsLeading,
               .required = true,
               .differentiable = true,
               .shape_rule = "input's",
               .description = "The wanted probabilities.",
               .minimum = 0,
               .maximum = 1,
               .domain_hint = "Send 0 for no and 1 for yes."},
              {.name = "weight",
               .role = TensorRole::kWeight,
               .dtypes = DtypeRule::kSameAsLeading,
               .required = false,
               .shape_rule = "broadcastable to input's",
               .description = "A rescaling weight."},
          },
      .parameters = {},
      .has_probabilities = true,
  };
  return schema;
}

void CheckShapes(const Arguments& arguments, Violations* violations) {
  CheckSameShape(Schema(), arguments, kTarget, violations);
  CheckBroadcasts(Schema(), arguments, kWeight, violations);
}

Geometry Plan(const Arguments& arguments, Violations*) {
  return ElementwiseGeometry(Schema(), arguments);
}

}  // namespace

const LossDefinition& Definition() {
  static const LossDefinition definition = {Schema(), CheckShapes, Plan, 80};
  return definition;
}

}  // namespace lossd::binary_cross_entropy
