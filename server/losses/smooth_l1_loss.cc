// SPDX-License-Identifier: Apache-2.0

#include "server/losses/checks.h"
#include "server/losses/loss.h"

namespace lossd::smooth_l1_loss {
namespace {

const LossSchema& Schema() {
  static const LossSchema schema = {
      .name = "smooth_l1_loss",
      .summary =
          "The absolute error of each element, rounded off near its target.",
      .formula =
          "weight * (r^2 / (2 * beta) if r < beta else r - beta / 2), "
          "r = |input - target|",
      .denominator = "the number of elements, whatever weight is",
      .source = "torch.nn.functional.smooth_l1_loss of PyTorch 2.15.0",
      .cost_rule = "12 operations an element",
      .differences =
          {"Shapes that PyTorch broadcasts with a warning are an error.",
           "weight, which PyTorch lacks, is that of huber_loss."},
      .tensors = ResidualSchemas(),
      .parameters = {{.name = "beta",
                      .type = ParameterType::kDouble,
                      .default_value = 1,
                      .range = "[0, inf]",
                      .description = "Where the square becomes a line.",
                      .minimum = 0,
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
  static const LossDefinition definition = {Schema(), CheckShapes, Plan, 12};
  return definition;
}

}  // namespace lossd::smooth_l1_loss
