// SPDX-License-Identifier: Apache-2.0

#include "server/losses/checks.h"
#include "server/losses/loss.h"

namespace lossd::hinge_embedding_loss {
namespace {

enum Slot { kInput, kTarget };

const LossSchema& Schema() {
  static const LossSchema schema = {
      .name = "hinge_embedding_loss",
      .summary = "Distances of like samples, and how near unlike ones are.",
      .formula =
          "(input if target != -1 else 0) + "
          "(max(0, margin - input) if target != 1 else 0)",
      .denominator = "the number of elements",
      .source = "torch.nn.functional.hinge_embedding_loss of PyTorch 2.15.0",
      .cost_rule = "20 operations an element",
      .differences = {"Shapes that PyTorch broadcasts are an error."},
      .tensors = {InputSchema("any", "The distances."),
                  Constant(TargetSchema(
                      "input's",
                      "1 for like and -1 for unlike samples; anything else "
                      "gets both terms."))},
      .parameters = {MarginSchema(1, false,
                                  "How far apart unlike samples should be.")},
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
  static const LossDefinition definition = {Schema(), CheckShapes, Plan, 20};
  return definition;
}

}  // namespace lossd::hinge_embedding_loss
