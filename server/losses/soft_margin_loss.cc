// SPDX-License-Identifier: Apache-2.0

#include "server/losses/checks.h"
#include "server/losses/loss.h"

namespace lossd::soft_margin_loss {
namespace {

enum Slot { kInput, kTarget };

const LossSchema& Schema() {
  static const LossSchema schema = {
      .name = "soft_margin_loss",
      .summary = "The logistic loss of scores for targets of 1 and -1.",
      .formula = "log(1 + exp(-target * input))",
      .denominator = "the number of elements",
      .source = "torch.nn.functional.soft_margin_loss of PyTorch 2.15.0",
      .cost_rule = "60 operations an element",
      .differences = {"Shapes that PyTorch broadcasts are an error.",
                      "It does not overflow: PyTorch gives infinity, and a "
                      "gradient of NaN, where exp(-target * input) is beyond "
                      "the dtype.",
                      "A confidently right score gives its true loss, not 0."},
      .tensors = {InputSchema("any", "The scores."),
                  Constant(TargetSchema("input's", "1 or -1."))},
      .parameters = {},
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

}  // namespace lossd::soft_margin_loss
