// SPDX-License-Identifier: Apache-2.0

#include "server/losses/checks.h"
#include "server/losses/loss.h"

namespace lossd::poisson_nll_loss {
namespace {

enum Slot { kInput, kTarget };

const LossSchema& Schema() {
  static const LossSchema schema = {
      .name = "poisson_nll_loss",
      .summary = "The negative log-likelihood of Poisson counts.",
      .formula =
          "exp(input) - target * input, or, without log_input, "
          "input - target * log(input + eps); full adds, where target > 1, "
          "target * log(target) - target + log(2 * pi * target) / 2",
      .denominator = "the number of elements",
      .source = "torch.nn.functional.poisson_nll_loss of PyTorch 2.15.0",
      .cost_rule = "80 operations an element",
      .differences = {"Shapes that PyTorch broadcasts are an error."},
      .tensors = {InputSchema("any", "The rates, or their logarithms."),
                  TargetSchema("input's", "The counts.")},
      .parameters = {{.name = "log_input",
                      .type = ParameterType::kBool,
                      .default_value = 1,
                      .range = "false or true",
                      .description = "Whether input holds logarithms."},
                     {.name = "full",
                      .type = ParameterType::kBool,
                      .default_value = 0,
                      .range = "false or true",
                      .description = "Whether to add Stirling's approximation "
                                     "of log(target!)."},
                     {.name = "eps",
                      .type = ParameterType::kDouble,
                      .default_value = 1e-8,
                      .range = "[0, inf)",
                      .description =
                          "Added to a rate whose logarithm is taken.",
                      .minimum = 0}},
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
  static const LossDefinition definition = {Schema(), CheckShapes, Plan, 80};
  return definition;
}

}  // namespace lossd::poisson_nll_loss
