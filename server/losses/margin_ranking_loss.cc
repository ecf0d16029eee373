// SPDX-License-Identifier: Apache-2.0

#include "absl/strings/str_cat.h"
#include "server/losses/checks.h"
#include "server/losses/loss.h"

namespace lossd::margin_ranking_loss {
namespace {

enum Slot { kInput1, kInput2, kTarget };

// Broadcasts `to` with a shape of as many dimensions; false if it cannot.
bool Broadcast(const Shape& shape, Shape* to) {
  if (shape.size() != to->size()) return false;
  for (size_t i = 0; i < shape.size(); ++i) {
    if ((*to)[i] == 1) (*to)[i] = shape[i];
    if (shape[i] != (*to)[i] && shape[i] != 1) return false;
  }
  return true;
}

const LossSchema& Schema() {
  static const LossSchema schema = {
      .name = "margin_ranking_loss",
      .summary = "How much the first of two scores should exceed the second.",
      .formula = "max(0, -target * (input1 - input2) + margin)",
      .denominator = "the number of elements after broadcasting",
      .source = "torch.nn.functional.margin_ranking_loss of PyTorch 2.15.0",
      .cost_rule = "20 operations an element after broadcasting",
      .differences = {},
      .tensors = {NamedInputSchema("input1", DtypeRule::kLeading, "any",
                                   "A score of each pair."),
                  NamedInputSchema(
                      "input2", DtypeRule::kSameAsLeading,
                      "broadcasts with the others, of as many dimensions",
                      "A score of each pair."),
                  TargetSchema("broadcasts with the others, of as many "
                               "dimensions",
                               "1 where input1 should be the greater, -1 where "
                               "input2 should.")},
      .parameters = {MarginSchema(0, false, "The wanted difference.")},
  };
  return schema;
}

void CheckShapes(const Arguments& arguments, Violations* violations) {
  Shape shape = arguments.tensor(kInput1).shape;
  for (int slot : {kInput2, kTarget}) {
    const Shape before = shape;
    if (Broadcast(arguments.tensor(slot).shape, &shape)) continue;
    violations->Add(
        Reason::kShapeMismatch, Schema().tensors[slot].name,
        absl::StrCat(
            Schema().tensors[slot].name, " has shape ",
            ShapeName(arguments.tensor(slot).shape),
            slot == kInput2 ? ", but input1 has shape "
                            : ", but input1 and input2 broadcast to shape ",
            ShapeName(before),
            ": margin_ranking_loss needs tensors of as many dimensions, each "
            "of equal size or of size 1."));
    return;
  }
  if (ElementCount(shape).has_value()) return;
  double elements = 1;
  for (int64_t size : shape) elements *= static_cast<double>(size);
  violations->AddMetadata("limit", absl::StrCat(INT64_MAX));
  violations->AddMetadata("actual", Violations::NumberName(elements));
  violations->Add(
      Reason::kLimitExceeded, "input1",
      absl::StrCat("input1, input2 and target broadcast to shape ",
                   ShapeName(shape),
                   ", whose number of elements does not fit in 64 bits: split "
                   "the evaluation."));
}

Geometry Plan(const Arguments& arguments, Violations*) {
  Geometry geometry = ElementwiseGeometry(Schema(), arguments);
  for (int slot : {kInput2, kTarget}) {
    Broadcast(arguments.tensor(slot).shape, &geometry.loss_shape);
  }
  geometry.element_count = ElementCount(geometry.loss_shape).value();
  geometry.mean_denominator = static_cast<double>(geometry.element_count);
  geometry.operations = 20.0 * static_cast<double>(geometry.element_count);
  return geometry;
}

}  // namespace

const LossDefinition& Definition() {
  static const LossDefinition definition = {Schema(), CheckShapes, Plan, 20};
  return definition;
}

}  // namespace lossd::margin_ranking_loss
