// SPDX-License-Identifier: Apache-2.0

#include "server/losses/checks.h"
#include "server/losses/loss.h"

namespace lossd::binary_cross_entropy_with_logits {
namespace {

enum Slot { kInput, kTarget, kWeight, kPosWeight };

const LossSchema& Schema() {
  static const LossSchema schema = {
      .name = "binary_cross_entropy_with_logits",
      .summary = "The cross-entropy of logits of a yes or no.",
      .formula =
          "weight * ((1 - target) * softplus(input) + "
          "pos_weight * target * softplus(-input))",
      .denominator = "the number of elements, whatever weight is",
      .source =
          "torch.nn.functional.binary_cross_entropy_with_logits of "
          "PyTorch 2.15.0",
      .cost_rule = "50 operations an element",
      .differences =
          {"A confidently right logit gives its true loss and gradient, not 0.",
           "An infinite logit gives the limit, 0 or infinity, not NaN."},
      .tensors = {InputSchema("any", "The logits."),
                  TargetSchema(
                      "input's",
                      "The wanted probabilities, usually 0 and 1; their "
                      "range is not checked."),
                  WeightSchema("weight", "broadcastable to input's",
                               "A rescaling weight."),
                  WeightSchema("pos_weight", "broadcastable to input's",
                               "The weight of the positive term.")},
      .parameters = {},
      .has_probabilities = true,
  };
  return schema;
}

void CheckShapes(const Arguments& arguments, Violations* violations) {
  CheckSameShape(Schema(), arguments, kTarget, violations);
  CheckBroadcasts(Schema(), arguments, kWeight, violations);
  CheckBroadcasts(Schema(), arguments, kPosWeight, violations);
}

Geometry Plan(const Arguments& arguments, Violations*) {
  Geometry geometry = ElementwiseGeometry(Schema(), arguments);
  geometry.float_lanes = true;
  return geometry;
}

}  // namespace

const LossDefinition& Definition() {
  static const LossDefinition definition = {Schema(), CheckShapes, Plan, 50};
  return definition;
}

}  // namespace lossd::binary_cross_entropy_with_logits
