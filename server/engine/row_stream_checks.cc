// SPDX-License-Identifier: Apache-2.0

#include "server/engine/row_stream_checks.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "server/engine/gradients.h"
#include "server/engine/task_steps.h"
#include "server/engine/validation.h"

namespace lossd {
namespace {

std::string PathOf(const LossSchema& schema, int slot) {
  return absl::StrCat("evaluation.", schema.name, ".",
                      schema.tensors[static_cast<size_t>(slot)].name);
}

void CheckStreamedOptions(const Evaluation& evaluation,
                          Violations* violations) {
  if (evaluation.validate_only) {
    violations->Add(Reason::kOptionInvalid, "evaluation.validate_only",
                    "validate_only does not go with streamed rows: send the "
                    "head's request as ComputeLoss or ComputeGradient.");
  }
  if (evaluation.reduction == Reduction::kNone) {
    violations->Add(Reason::kOptionInvalid, "evaluation.reduction",
                    "reduction = REDUCTION_NONE cannot be streamed: use the "
                    "mean or the sum, or split the evaluation.");
  }
  for (const Output output :
       {Output::kElementwiseLosses, Output::kProbabilities,
        Output::kLogProbabilities, Output::kPredictedClasses}) {
    if (!evaluation.outputs.Has(output)) continue;
    violations->Add(Reason::kOptionInvalid, "evaluation.outputs",
                    "streamed rows give OUTPUT_LOSS and OUTPUT_GRADIENTS only: "
                    "leave the others out, or split the evaluation.");
    break;
  }
  const TensorView& grad_output = evaluation.grad_output;
  if (grad_output.present() && grad_output.data == nullptr) {
    violations->Add(Reason::kTensorMissing, "grad_output",
                    "grad_output has no content: it is a scalar, and cannot "
                    "be streamed.");
  }
}

// Dimension 0 of the loss counts its samples; false after a violation.
bool CheckBatch(const Task& whole, Violations* violations) {
  const LossSchema& schema = whole.evaluation.loss->schema;
  if (!schema.batch_first) {
    violations->Add(
        Reason::kOptionInvalid, absl::StrCat("evaluation.", schema.name),
        absl::StrCat(schema.name,
                     " cannot be streamed, because dimension 0 of ",
                     schema.tensors[0].name,
                     " is not the batch's: split the evaluation by samples."));
    return false;
  }
  if (!whole.geometry.loss_shape.empty()) return true;
  const TensorView& lead = whole.evaluation.arguments.tensor(0);
  violations->Add(
      Reason::kShapeMismatch, PathOf(schema, 0),
      absl::StrCat(schema.tensors[0].name, " has shape ", ShapeName(lead.shape),
                   ": one sample has no rows to stream. Add a dimension of "
                   "samples in front."));
  return false;
}

void CheckTensor(const Task& whole, int slot, Violations* violations) {
  const LossSchema& schema = whole.evaluation.loss->schema;
  const TensorSchema& tensor = schema.tensors[static_cast<size_t>(slot)];
  const Shape& shape = whole.evaluation.arguments.tensor(slot).shape;
  const Geometry& geometry = whole.geometry;
  std::string problem;
  if (geometry.row_loss && tensor.role == TensorRole::kWeight) {
    problem = "is the same for all rows";
  } else if (!geometry.row_loss && shape != geometry.loss_shape) {
    problem = absl::StrCat("has shape ", ShapeName(shape),
                           ", but only tensors of the losses' shape ",
                           ShapeName(geometry.loss_shape), " can be streamed");
  } else {
    return;
  }
  violations->Add(Reason::kTensorMissing, PathOf(schema, slot),
                  absl::StrCat(tensor.name, " ", problem,
                               ": send its content in the head."));
}

void CheckWrt(const Task& whole, uint32_t streamed, Violations* violations) {
  const Evaluation& evaluation = whole.evaluation;
  if (!Wants(evaluation, Output::kGradients)) return;
  for (int slot : GradientSlots(evaluation)) {
    if ((streamed >> slot & 1u) != 0) continue;
    const absl::string_view name =
        evaluation.loss->schema.tensors[static_cast<size_t>(slot)].name;
    violations->Add(
        Reason::kOptionInvalid, "wrt",
        absl::StrCat("the gradient with respect to ", name,
                     " cannot be streamed, because ", name,
                     " is not: stream it, or name other tensors in wrt."));
  }
}

}  // namespace

void CheckStreamable(const Task& whole, uint32_t streamed,
                     Violations* violations) {
  const Evaluation& evaluation = whole.evaluation;
  if (streamed == 0) {
    violations->Add(Reason::kOptionInvalid, "evaluation",
                    "every tensor of the head has content, so that nothing is "
                    "streamed: leave the content of the large ones out, or "
                    "call ComputeLoss or ComputeGradient.");
    return;
  }
  CheckStreamedOptions(evaluation, violations);
  if (!CheckBatch(whole, violations)) return;
  for (int slot = 0; slot < kMaxTensors; ++slot) {
    if ((streamed >> slot & 1u) != 0) CheckTensor(whole, slot, violations);
  }
  if (IsMean(evaluation) && !evaluation.normalizer.has_value() &&
      !whole.geometry.denominator_known) {
    violations->Add(
        Reason::kOptionInvalid, "evaluation.normalizer",
        absl::StrCat("the denominator of the mean (",
                     evaluation.loss->schema.denominator,
                     ") depends on what is streamed: set normalizer, use "
                     "REDUCTION_SUM, or send what it is counted in with the "
                     "head."));
  }
  CheckWrt(whole, streamed, violations);
}

void CheckChunkLimits(int64_t elements, const Cost& cost,
                      int64_t gradient_bytes, const EngineLimits& limits,
                      Violations* violations) {
  CheckElements(elements, 0, limits, violations);
  CheckCost(cost, gradient_bytes, limits, violations);
  if (!violations->empty()) {
    violations->AddSentence("Send fewer rows in a chunk.");
  }
}

}  // namespace lossd
