// SPDX-License-Identifier: Apache-2.0

#include "server/losses/checks.h"
#include "server/losses/loss.h"

namespace lossd::triplet_margin_loss {
namespace {

const LossSchema& Schema() {
  static const LossSchema schema = {
      .name = "triplet_margin_loss",
      .summary =
          "How much nearer an anchor should be to a positive than to a "
          "negative sample.",
      .formula =
          "max(0, margin + d(anchor, positive) - d(anchor, negative)), "
          "d(x, y) = norm of degree p of x - y + eps",
      .denominator = "the number of samples",
      .source = "torch.nn.functional.triplet_margin_loss of PyTorch 2.15.0",
      .cost_rule = "100 operations an element of anchor",
      .differences = {"Shapes that PyTorch broadcasts are an error."},
      .tensors = TripletSchemas(),
      .parameters = {MarginSchema(1, true,
                                  "How much nearer the positive should be."),
                     {.name = "p",
                      .type = ParameterType::kDouble,
                      .default_value = 2,
                      .range = "(0, inf]",
                      .description = "The degree of the norm.",
                      .minimum = 0,
                      .minimum_open = true,
                      .infinity_allowed = true},
                     {.name = "eps",
                      .type = ParameterType::kDouble,
                      .default_value = 1e-6,
                      .range = "(-inf, inf)",
                      .description = "Added to every difference."},
                     SwapSchema()},
  };
  return schema;
}

void CheckShapes(const Arguments& arguments, Violations* violations) {
  CheckTriplet(Schema(), arguments, violations);
}

Geometry Plan(const Arguments& arguments, Violations*) {
  return RowGeometry(Schema(), arguments);
}

}  // namespace

const LossDefinition& Definition() {
  static const LossDefinition definition = {Schema(), CheckShapes, Plan, 100};
  return definition;
}

}  // namespace lossd::triplet_margin_loss
