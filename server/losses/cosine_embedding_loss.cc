// SPDX-License-Identifier: Apache-2.0

#include "absl/strings/str_cat.h"
#include "server/losses/checks.h"
#include "server/losses/loss.h"

namespace lossd::cosine_embedding_loss {
namespace {

enum Slot { kInput1, kInput2, kTarget };

const LossSchema& Schema() {
  static const LossSchema schema = {
      .name = "cosine_embedding_loss",
      .summary = "Whether two vectors point the same way, or do not.",
      .formula =
          "1 - cos where target = 1, max(0, cos - margin) where target = -1, "
          "else 0; cos = input1 . input2 / "
          "sqrt((|input1|^2 + 1e-12) * (|input2|^2 + 1e-12))",
      .denominator = "the number of samples",
      .source = "torch.nn.functional.cosine_embedding_loss of PyTorch 2.15.0",
      .cost_rule = "20 operations an element of input1",
      .differences = {"Shapes that PyTorch broadcasts are an error."},
      .tensors = {NamedInputSchema("input1", DtypeRule::kLeading,
                                   "[D] or [N, D]", "One vector of each pair."),
                  NamedInputSchema("input2", DtypeRule::kSameAsLeading,
                                   "input1's", "One vector of each pair."),
                  Constant(TargetSchema("[] or [N]",
                                        "1 for like and -1 for unlike samples; "
                                        "anything else gives no loss."))},
      .parameters = {MarginSchema(0, false,
                                  "The cosine that unlike samples may have.")},
  };
  return schema;
}

void CheckShapes(const Arguments& arguments, Violations* violations) {
  CheckRowOrRows(Schema(), arguments, violations);
  CheckSameShape(Schema(), arguments, kInput2, violations);
  if (!violations->empty()) return;
  const Shape& input = arguments.tensor(kInput1).shape;
  const TensorView& target = arguments.tensor(kTarget);
  const Shape wanted(input.begin(), input.end() - 1);
  if (target.shape == wanted) return;
  violations->Add(
      Reason::kShapeMismatch, "target",
      absl::StrCat("target has shape ", ShapeName(target.shape),
                   ", but input1 of shape ", ShapeName(input), " needs ",
                   ShapeName(wanted), ": one value for each sample."));
}

Geometry Plan(const Arguments& arguments, Violations*) {
  return RowGeometry(Schema(), arguments);
}

}  // namespace

const LossDefinition& Definition() {
  static const LossDefinition definition = {Schema(), CheckShapes, Plan, 20};
  return definition;
}

}  // namespace lossd::cosine_embedding_loss
