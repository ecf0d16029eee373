// SPDX-License-Identifier: Apache-2.0

#include "server/losses/checks.h"
#include "server/losses/loss.h"

namespace lossd::mse_loss {
namespace {

enum Slot { kInput, kTarget, kWeight };

const LossSchema& Schema() {
  static const LossSchema schema = {
      .name = "mse_loss",
      .summary = "The squared error of each element.",
      .formula = "weight * (input - target)^2",
      .denominator = "the number of elements; with weight, the sum of weight",
      .source = "torch.nn.functional.mse_loss of PyTorch 2.15.0",
      .cost_rule = "6 operations an element",
      .differences = {"Shapes that PyTorch broadcasts with a warning are an "
                      "error."},
      .tensors = ResidualSchemas(),
      .parameters = {},
  };
  return schema;
}

void CheckShapes(const Arguments& arguments, Violations* violations) {
  CheckResidual(Schema(), arguments, violations);
}

Geometry Plan(const Arguments& arguments, Violations*) {
  Geometry geometry = ElementwiseGeometry(Schema(), arguments);
  geometry.float_lanes = true;
  DivideByWeight(arguments, kWeight, &geometry);
  return geometry;
}

}  // namespace

const LossDefinition& Definition() {
  static const LossDefinition definition = {Schema(), CheckShapes, Plan, 6};
  return definition;
}

}  // namespace lossd::mse_loss
