// SPDX-License-Identifier: Apache-2.0

#include "server/losses/checks.h"
#include "server/losses/loss.h"

namespace lossd::huber_loss {
namespace {

const LossSchema& Schema() {
  static const LossSchema schema = {
      .name = "huber_loss",
      .summary =
          "The squared error of each element near its target, a line beyond.",
      .formula =
          "weight * (r^2 / 2 if r < delta else delta * (r - delta / 2)), "
          "r = |input - target|",
      .denominator = "the number of elements, whatever weight is",
      .source = "torch.nn.functional.huber_loss of PyTorch 2.15.0",
      .cost_rule = "10 operations an element",
      .differences =
          {"Shapes that PyTorch broadcasts with a warning are an error."},
      .tensors = ResidualSchemas(),
      .parameters = {{.name = "delta",
                      .type = ParameterType::kDouble,
                      .default_value = 1,
                      .range = "(0, inf]",
                      .description = "Where the square becomes a line.",
                      .minimum = 0,
                      .minimum_open = true,
                      .infinity_allowed = true}},
  };
  return schema;
}

void CheckShapes(const Arguments& arguments, Violations* violations) {
  CheckResidual(Schema(), arguments, violations);
}

Geometry Plan(const Arguments& arguments, Violations*) {
  Geometry geometry = ElementwiseGeometry(Schema(), arguments);
  geometry.float_lanes = true;
  return geometry;
}

}  // namespace

const LossDefinition& Definition() {
  static const LossDefinition definition = {Schema(), CheckShapes, Plan, 10};
  return definition;
}

}  // namespace lossd::huber_loss
