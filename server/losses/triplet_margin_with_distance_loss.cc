// SPDX-License-Identifier: Apache-2.0

#include "absl/strings/str_cat.h"
#include "server/losses/checks.h"
#include "server/losses/loss.h"

namespace lossd::triplet_margin_with_distance_loss {
namespace {

enum Parameter { kDistanceFunction };
constexpr double kChebyshev = 4;

const LossSchema& Schema() {
  static const LossSchema schema = {
      .name = "triplet_margin_with_distance_loss",
      .summary =
          "How much nearer an anchor should be to a positive than to a "
          "negative sample.",
      .formula =
          "max(0, margin + d(anchor, positive) - d(anchor, negative)), d the "
          "distance_function",
      .denominator = "the number of samples",
      .source =
          "torch.nn.functional.triplet_margin_with_distance_loss of PyTorch "
          "2.15.0",
      .cost_rule = "20 operations an element of anchor",
      .differences = {"Shapes that PyTorch broadcasts are an error.",
                      "distance_function is one of those listed, not code."},
      .tensors = TripletSchemas(),
      .parameters = {{.name = "distance_function",
                      .type = ParameterType::kEnum,
                      .default_value = 1,
                      .range = "one of the choices",
                      .description = "How far two samples are apart.",
                      .choices = {"PAIRWISE", "SQUARED_EUCLIDEAN", "MANHATTAN",
                                  "CHEBYSHEV", "COSINE"}},
                     MarginSchema(1, true,
                                  "How much nearer the positive should be."),
                     SwapSchema()},
  };
  return schema;
}

void CheckShapes(const Arguments& arguments, Violations* violations) {
  CheckTriplet(Schema(), arguments, violations);
  const Shape& shape = arguments.tensor(0).shape;
  if (shape.empty() || shape.back() > 0 ||
      arguments.parameter(Schema(), kDistanceFunction) != kChebyshev) {
    return;
  }
  violations->Add(Reason::kShapeMismatch, "anchor",
                  absl::StrCat("anchor has shape ", ShapeName(shape),
                               ", but distance_function = CHEBYSHEV needs at "
                               "least one feature."));
}

Geometry Plan(const Arguments& arguments, Violations*) {
  return RowGeometry(Schema(), arguments);
}

}  // namespace

const LossDefinition& Definition() {
  static const LossDefinition definition = {Schema(), CheckShapes, Plan, 20};
  return definition;
}

}  // namespace lossd::triplet_margin_with_distance_loss
