// SPDX-License-Identifier: Apache-2.0

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/losses/checks.h"
#include "server/losses/loss.h"

namespace lossd::cross_entropy {
namespace {

enum Slot { kInput, kTarget, kWeight };
enum Parameter { kIgnoreIndex, kLabelSmoothing };

std::vector<absl::string_view> Differences() {
  return {
      "A confidently right sample gives its true loss and gradient, not "
      "0.",
      "An ignored sample has zero gradient even if it holds NaN or "
      "infinity.",
      "A class of no mass adds nothing even where its logit is -infinity.",
      "int32 class indices are accepted too.",
      "Whether target is indices or probabilities follows from its dtype, "
      "never from its shape.",
      "A negative label_smoothing is an error."};
}

const LossSchema& Schema() {
  static const LossSchema schema = {
      .name = "cross_entropy",
      .summary = "The cross-entropy of the softmax of logits.",
      .formula =
          "-sum over c of weight[c] * q[c] * log(softmax(input)[c]), with "
          "q = (1 - label_smoothing) * target + label_smoothing / C",
      .denominator =
          "class indices: the sum of weight[target] over the samples "
          "that are not ignored; probabilities: the number of samples",
      .source = "torch.nn.functional.cross_entropy of PyTorch 2.15.0",
      .cost_rule = "50 operations an element",
      .differences = Differences(),
      .tensors = {InputSchema("[C], [N, C] or [N, C, *]", "The logits."),
                  {.name = "target",
                   .role = TensorRole::kTarget,
                   .dtypes = DtypeRule::kClassIndexOrAsLeading,
                   .required = true,
                   .differentiable = true,
                   .shape_rule =
                       "class indices: input's without the class dimension; "
                       "probabilities: input's, and only these are "
                       "differentiable",
                   .description =
                       "Class indices in [0, C), or class probabilities."},
                  Differentiable(WeightSchema(
                      "weight", "[C]; differentiable with probabilities",
                      "The weight of each class."))},
      .parameters = {IgnoreIndexSchema(),
                     {.name = "label_smoothing",
                      .type = ParameterType::kDouble,
                      .default_value = 0,
                      .range = "[0, 1]",
                      .description = "The share of the target's mass that is "
                                     "spread evenly over the classes.",
                      .minimum = 0,
                      .maximum = 1}},
      .has_probabilities = true,
  };
  return schema;
}

bool HasProbabilities(const Arguments& arguments) {
  return IsFloating(arguments.tensor(kTarget).dtype);
}

void CheckShapes(const Arguments& arguments, Violations* violations) {
  CheckClassShapes(Schema(), arguments, kTarget, kWeight, violations);
  if (!HasProbabilities(arguments)) return;
  const TensorView& input = arguments.tensor(kInput);
  const TensorView& target = arguments.tensor(kTarget);
  if (target.shape != input.shape) {
    violations->Add(
        Reason::kShapeMismatch, "target",
        absl::StrCat("target of class probabilities (", DtypeName(target.dtype),
                     ") has shape ", ShapeName(target.shape),
                     ", but input has shape ", ShapeName(input.shape),
                     ": send one probability for each logit, or class indices "
                     "as int64."));
  }
  const double ignored =
      arguments.parameter(Schema(), kIgnoreIndex).value_or(-1);
  if (ignored >= 0) {
    violations->Add(
        Reason::kParameterOutOfRange, "ignore_index",
        absl::StrCat(
            "ignore_index = ", Violations::NumberName(ignored),
            " does not go with class probabilities: leave it unset, or "
            "send class indices as int64."));
  }
}

Geometry Plan(const Arguments& arguments, Violations* violations) {
  Geometry geometry = ClassGeometry(Schema(), arguments);
  if (HasProbabilities(arguments)) {
    geometry.views[kWeight] = Shape(
        std::max<size_t>(arguments.tensor(kInput).shape.size(), 2) - 1, 1);
    (*geometry.views[kWeight])[0] = geometry.row_length;
    return geometry;
  }
  geometry.float_lanes = geometry.parameters[kLabelSmoothing] == 0;
  geometry.class_likelihood = geometry.float_lanes;
  const ClassCounts counts =
      CountClasses(Schema(), arguments, kTarget, kWeight,
                   static_cast<int64_t>(geometry.parameters[kIgnoreIndex]),
                   LayOutClasses(arguments.tensor(kInput)).classes == 1
                       ? OneClassHint(arguments.tensor(kInput))
                       : "",
                   violations);
  geometry.ignored_count = counts.ignored;
  geometry.mean_denominator = counts.weight;
  geometry.counted = counts.known;
  geometry.denominator_known = counts.known;
  return geometry;
}

}  // namespace

const LossDefinition& Definition() {
  static const LossDefinition definition = {Schema(), CheckShapes, Plan, 50};
  return definition;
}

}  // namespace lossd::cross_entropy
