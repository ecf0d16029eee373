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
      .tensors = {Within(InputSchema("any", "The predicted probabilities."), 0,
                         1, "For logits use binary_cross_entropy_with_logits."),
                  Within(TargetSchema("input's",
                                      "The wanted probabilities, usually 0 and "
                                      "1."),
                         0, 1, "Send 0 for no and 1 for yes."),
                  WeightSchema("weight", "broadcastable to input's",
                               "A rescaling weight.")},
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
