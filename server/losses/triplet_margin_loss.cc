// SPDX-License-Identifier: Apache-2.0

#include "absl/strings/str_cat.h"
#include "server/losses/checks.h"
#include "server/losses/loss.h"

namespace lossd::triplet_margin_loss {
namespace {

enum Slot { kAnchor, kPositive, kNegative };

TensorSchema Tensor(absl::string_view name, bool leads,
                    absl::string_view description) {
  return {.name = name,
          .role = TensorRole::kInput,
          .dtypes = leads ? DtypeRule::kLeading : DtypeRule::kSameAsLeading,
          .required = true,
          .differentiable = true,
          .default_wrt = true,
          .shape_rule = leads ? "[D] or [*, D]" : "anchor's",
          .description = description};
}

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
      .tensors = {Tensor("anchor", true, "The samples."),
                  Tensor("positive", false, "Samples of the anchor's class."),
                  Tensor("negative", false, "Samples of other classes.")},
      .parameters = {{.name = "margin",
                      .type = ParameterType::kDouble,
                      .default_value = 1,
                      .range = "greater than 0",
                      .description = "How much nearer the positive should be.",
                      .minimum = 0,
                      .minimum_open = true},
                     {.name = "p",
                      .type = ParameterType::kDouble,
                      .default_value = 2,
                      .range = "greater than 0, or infinity",
                      .description = "The degree of the norm.",
                      .minimum = 0,
                      .minimum_open = true,
                      .infinity_allowed = true},
                     {.name = "eps",
                      .type = ParameterType::kDouble,
                      .default_value = 1e-6,
                      .range = "finite",
                      .description = "Added to every difference."},
                     {.name = "swap",
                      .type = ParameterType::kBool,
                      .default_value = 0,
                      .range = "false or true",
                      .description =
                          "Use the smaller of d(anchor, negative) and "
                          "d(positive, negative)."}},
  };
  return schema;
}

void CheckShapes(const Arguments& arguments, Violations* violations) {
  if (arguments.tensor(kAnchor).shape.empty()) {
    violations->Add(Reason::kShapeMismatch, "anchor",
                    "anchor is a scalar, but triplet_margin_loss needs a "
                    "dimension of features: [D] or [*, D].");
  }
  CheckSameShape(Schema(), arguments, kPositive, violations);
  CheckSameShape(Schema(), arguments, kNegative, violations);
}

Geometry Plan(const Arguments& arguments, Violations*) {
  Geometry geometry;
  const Shape& shape = arguments.tensor(kAnchor).shape;
  geometry.loss_shape.assign(shape.begin(), shape.end() - 1);
  geometry.row_length = shape.back();
  geometry.rows = ElementCount(geometry.loss_shape).value();
  geometry.element_count = geometry.rows;
  geometry.mean_denominator = static_cast<double>(geometry.rows);
  geometry.row_loss = true;
  BindParameters(Schema(), arguments, &geometry);
  return geometry;
}

}  // namespace

const LossDefinition& Definition() {
  static const LossDefinition definition = {Schema(), CheckShapes, Plan, 100};
  return definition;
}

}  // namespace lossd::triplet_margin_loss
