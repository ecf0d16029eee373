// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <limits>
#include <optional>

#include "absl/strings/str_cat.h"
#include "server/losses/checks.h"
#include "server/losses/loss.h"

namespace lossd::gaussian_nll_loss {
namespace {

enum Slot { kInput, kTarget, kVar };

// The shape under which a variance broadcasts to input, if it may.
std::optional<Shape> ViewOfVar(const Shape& input, const Shape& var) {
  if (var.empty() || var == input) return var;
  Shape view = var;
  if (var.size() + 1 == input.size()) {
    if (!std::equal(var.begin(), var.end(), input.begin())) return std::nullopt;
    view.push_back(1);
  }
  if (view.size() != input.size()) return std::nullopt;
  int others = 0;
  for (size_t i = 0; i < input.size(); ++i) {
    if (view[i] == input[i]) continue;
    if (view[i] != 1) return std::nullopt;
    ++others;
  }
  if (others > 1) return std::nullopt;
  return view;
}

TensorSchema VarSchema() {
  const TensorSchema var = NamedInputSchema(
      "var", DtypeRule::kSameAsLeading,
      "input's, that with one dimension of size 1 or without its "
      "last dimension, or []",
      "The variances, at least 0.");
  return Within(var, 0, std::numeric_limits<double>::infinity(),
                "A variance is not negative: send exp(log_variance) rather "
                "than the logarithm itself.");
}

const LossSchema& Schema() {
  static const LossSchema schema = {
      .name = "gaussian_nll_loss",
      .summary = "The negative log-likelihood of values with Gaussian noise.",
      .formula =
          "(log(v) + (input - target)^2 / v) / 2, v = max(var, eps); full "
          "adds log(2 * pi) / 2",
      .denominator = "the number of elements",
      .source = "torch.nn.functional.gaussian_nll_loss of PyTorch 2.15.0",
      .cost_rule = "60 operations an element",
      .differences =
          {"Shapes of input and target that PyTorch broadcasts are an error.",
           "A scalar tensor is the float that PyTorch takes as var.",
           "NaN in var is an error, as a negative value is."},
      .tensors = {InputSchema("any", "The expectations."),
                  TargetSchema("input's", "The observed values."), VarSchema()},
      .parameters = {{.name = "full",
                      .type = ParameterType::kBool,
                      .default_value = 0,
                      .range = "false or true",
                      .description = "Whether to add the constant term."},
                     {.name = "eps",
                      .type = ParameterType::kDouble,
                      .default_value = 1e-6,
                      .range = "[0, inf)",
                      .description = "The least variance.",
                      .minimum = 0}},
  };
  return schema;
}

void CheckShapes(const Arguments& arguments, Violations* violations) {
  CheckSameShape(Schema(), arguments, kTarget, violations);
  const TensorView& input = arguments.tensor(kInput);
  const TensorView& var = arguments.tensor(kVar);
  if (ViewOfVar(input.shape, var.shape).has_value()) return;
  violations->Add(
      Reason::kShapeMismatch, "var",
      absl::StrCat("var has shape ", ShapeName(var.shape),
                   ", but input has shape ", ShapeName(input.shape),
                   ": gaussian_nll_loss needs that shape, that shape with one "
                   "dimension of size 1 or without its last dimension, or [] "
                   "for one variance for all elements."));
}

Geometry Plan(const Arguments& arguments, Violations*) {
  Geometry geometry = ElementwiseGeometry(Schema(), arguments);
  geometry.views[kVar] =
      ViewOfVar(arguments.tensor(kInput).shape, arguments.tensor(kVar).shape);
  return geometry;
}

}  // namespace

const LossDefinition& Definition() {
  static const LossDefinition definition = {Schema(), CheckShapes, Plan, 60};
  return definition;
}

}  // namespace lossd::gaussian_nll_loss
