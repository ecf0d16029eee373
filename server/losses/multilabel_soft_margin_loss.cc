// SPDX-License-Identifier: Apache-2.0

#include "server/losses/checks.h"
#include "server/losses/loss.h"

namespace lossd::multilabel_soft_margin_loss {
namespace {

enum Slot { kInput, kTarget, kWeight };

const LossSchema& Schema() {
  static const LossSchema schema = {
      .name = "multilabel_soft_margin_loss",
      .summary = "The mean binary cross-entropy of the classes of a sample.",
      .formula =
          "sum over c of weight[c] * ((1 - target[c]) * softplus(input[c]) + "
          "target[c] * softplus(-input[c])) / C",
      .denominator = "the number of samples, whatever weight is",
      .source =
          "torch.nn.functional.multilabel_soft_margin_loss of PyTorch 2.15.0",
      .cost_rule = "60 operations an element",
      .differences = {"Shapes that PyTorch broadcasts are an error.",
                      "A confidently right logit gives its true loss, not 0.",
                      "An infinite logit gives the limit, 0 or infinity, not "
                      "NaN."},
      .tensors = {InputSchema("[C] or [*, C]", "The logits."),
                  TargetSchema("input's",
                               "The wanted probabilities, usually 0 "
                               "and 1; their range is not checked."),
                  Differentiable(WeightSchema("weight", "[C]",
                                              "The weight of each class."))},
      .parameters = {},
  };
  return schema;
}

void CheckShapes(const Arguments& arguments, Violations* violations) {
  CheckRows(Schema(), arguments, violations);
  CheckSameShape(Schema(), arguments, kTarget, violations);
  if (violations->empty()) {
    CheckClassWeight(Schema(), arguments, kWeight,
                     arguments.tensor(kInput).shape.back(), violations);
  }
}

Geometry Plan(const Arguments& arguments, Violations*) {
  return RowGeometry(Schema(), arguments);
}

}  // namespace

const LossDefinition& Definition() {
  static const LossDefinition definition = {Schema(), CheckShapes, Plan, 60};
  return definition;
}

}  // namespace lossd::multilabel_soft_margin_loss
