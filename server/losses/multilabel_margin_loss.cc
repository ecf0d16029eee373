// SPDX-License-Identifier: Apache-2.0

#include "absl/strings/str_cat.h"
#include "server/losses/checks.h"
#include "server/losses/loss.h"

namespace lossd::multilabel_margin_loss {
namespace {

enum Slot { kInput, kTarget };

const LossSchema& Schema() {
  static const LossSchema schema = {
      .name = "multilabel_margin_loss",
      .summary = "How much the scores of the right classes exceed the others.",
      .formula =
          "sum over classes y of target and others i of "
          "max(0, 1 - (input[y] - input[i])) / C",
      .denominator = "the number of samples",
      .source = "torch.nn.functional.multilabel_margin_loss of PyTorch 2.15.0",
      .cost_rule = "12 operations a class of target and class",
      .differences =
          {"float16, bfloat16, and int32 and uint8 class indices are "
           "accepted too.",
           "No samples give NaN under a mean and 0 under a sum; "
           "PyTorch returns memory that nobody wrote."},
      .tensors = {InputSchema("[C] or [N, C]", "The scores."),
                  {.name = "target",
                   .role = TensorRole::kTarget,
                   .dtypes = DtypeRule::kClassIndex,
                   .required = true,
                   .shape_rule = "input's",
                   .description =
                       "The classes of each sample, in [0, C), up to the "
                       "first -1; one that is there twice counts twice."}},
      .parameters = {},
  };
  return schema;
}

void CheckShapes(const Arguments& arguments, Violations* violations) {
  CheckScores(Schema(), arguments, violations);
  CheckSameShape(Schema(), arguments, kTarget, violations);
}

Geometry Plan(const Arguments& arguments, Violations* violations) {
  Geometry geometry = ClassGeometry(Schema(), arguments);
  const TensorView& target = arguments.tensor(kTarget);
  geometry.counted = target.readable();
  if (!geometry.counted) return geometry;
  const int64_t classes = geometry.row_length;
  int64_t bad = 0;
  int64_t first_bad = 0;
  double targets = 0;
  for (int64_t row = 0; row < geometry.rows; ++row) {
    bool ended = false;
    for (int64_t i = row * classes; i < (row + 1) * classes; ++i) {
      const int64_t label = target.IndexAt(i);
      ended |= label == -1;
      targets += !ended;
      if (label >= -1 && label < classes) continue;
      if (bad++ == 0) first_bad = i;
    }
  }
  geometry.operations = 12.0 * (targets + 1) * static_cast<double>(classes);
  if (bad > 0) {
    violations->Add(
        Reason::kTargetOutOfRange, "target",
        absl::StrCat("target", target.PlaceName(first_bad), " = ",
                     violations->ValueName(target.IndexAt(first_bad)),
                     " is outside [-1, ", classes, "): input of shape ",
                     ShapeName(arguments.tensor(kInput).named_shape()),
                     " has C = ", classes,
                     classes == 1 ? " class. " : " classes. ", bad, " of ",
                     target.elements, bad == 1 ? " targets is" : " targets are",
                     " out of range. Pad each row of target with -1."));
  }
  return geometry;
}

}  // namespace

const LossDefinition& Definition() {
  static const LossDefinition definition = {Schema(), CheckShapes, Plan, 20};
  return definition;
}

}  // namespace lossd::multilabel_margin_loss
