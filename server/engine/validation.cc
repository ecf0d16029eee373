// SPDX-License-Identifier: Apache-2.0

#include "server/engine/validation.h"

#include <cmath>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/engine/gradients.h"

namespace lossd {
namespace {

// Whether a tensor may have `dtype` beside a leading one of `lead`. What is
// wrong with the leading one is said of that alone.
bool Fits(DtypeRule rule, Dtype dtype, Dtype lead) {
  switch (rule) {
    case DtypeRule::kLeading:
      return IsFloating(dtype);
    case DtypeRule::kSameAsLeading:
      return dtype == lead || !IsFloating(lead);
    case DtypeRule::kClassIndex:
      return IsClassIndex(dtype);
    case DtypeRule::kClassIndexOrAsLeading:
      return IsClassIndex(dtype) || dtype == lead || !IsFloating(lead);
    case DtypeRule::kAny:
      return true;
  }
  return true;
}

// What is wrong with a tensor's dtype, or nothing.
std::string DtypeProblem(const LossSchema& schema, const Arguments& arguments,
                         int slot) {
  const TensorSchema& tensor = schema.tensors[slot];
  const Dtype dtype = arguments.tensor(slot).dtype;
  const Dtype lead = arguments.tensor(0).dtype;
  if (Fits(tensor.dtypes, dtype, lead)) return "";
  const std::string has =
      absl::StrCat(tensor.name, " has dtype ", DtypeName(dtype), ", but ",
                   schema.name, " needs ");
  const std::string leading = absl::StrCat(
      "the dtype of ", schema.tensors[0].name, " (", DtypeName(lead), ")");
  switch (tensor.dtypes) {
    case DtypeRule::kLeading:
      return absl::StrCat(has, "float16, bfloat16, float32 or float64.");
    case DtypeRule::kSameAsLeading:
      if (tensor.role == TensorRole::kTarget && !IsFloating(dtype)) {
        const bool binary = absl::StrContains(tensor.description, "0 and 1");
        return absl::StrCat(has, leading, ": send ", binary ? "0 and 1" : "it",
                            " as ", DtypeName(lead), ".");
      }
      return absl::StrCat(has, leading, ".");
    case DtypeRule::kClassIndex:
      return absl::StrCat(
          has,
          tensor.role == TensorRole::kAuxiliary ? "integers" : "class indices",
          ": int64, int32 or uint8.");
    case DtypeRule::kClassIndexOrAsLeading:
      return absl::StrCat(has,
                          "class indices (int64, int32 or uint8) or, for "
                          "class probabilities, ",
                          leading, ".");
    case DtypeRule::kAny:
      return "";
  }
  return "";
}

void AddLimit(absl::string_view field, absl::string_view what, double actual,
              double limit, absl::string_view fix, Violations* violations) {
  violations->Add(Reason::kLimitExceeded, field,
                  absl::StrCat(what, ": ", Violations::NumberName(actual),
                               ", but this server takes at most ",
                               Violations::NumberName(limit), ": ", fix));
  violations->AddMetadata("limit", Violations::NumberName(limit));
  violations->AddMetadata("actual", Violations::NumberName(actual));
}

std::string DifferentiableNames(const Evaluation& evaluation) {
  std::vector<absl::string_view> names;
  const LossSchema& schema = evaluation.loss->schema;
  for (size_t slot = 0; slot < schema.tensors.size(); ++slot) {
    if (schema.tensors[slot].differentiable) {
      names.push_back(schema.tensors[slot].name);
    }
  }
  return absl::StrJoin(names, ", ");
}

int SlotOf(const LossSchema& schema, absl::string_view name) {
  for (size_t slot = 0; slot < schema.tensors.size(); ++slot) {
    if (schema.tensors[slot].name == name) return static_cast<int>(slot);
  }
  return -1;
}

void CheckWrt(const Evaluation& evaluation, Violations* violations) {
  const LossSchema& schema = evaluation.loss->schema;
  for (size_t i = 0; i < evaluation.wrt.size(); ++i) {
    const std::string& name = evaluation.wrt[i];
    const int slot = SlotOf(schema, name);
    std::string problem;
    if (slot < 0) {
      problem = absl::StrCat("is not a tensor of ", schema.name);
    } else if (!schema.tensors[slot].differentiable) {
      problem = "is not differentiable";
    } else if (!evaluation.arguments.has(slot)) {
      problem = "was not sent";
    } else if (!IsDifferentiable(evaluation, slot)) {
      problem = IsFloating(evaluation.arguments.tensor(slot).dtype)
                    ? "is not differentiable with class indices"
                    : absl::StrCat(
                          "is not differentiable as ",
                          DtypeName(evaluation.arguments.tensor(slot).dtype));
    }
    for (size_t k = 0; k < i && problem.empty(); ++k) {
      if (evaluation.wrt[k] == name) problem = "is there twice";
    }
    if (problem.empty()) continue;
    violations->Add(Reason::kOptionInvalid, absl::StrCat("wrt[", i, "]"),
                    absl::StrCat("wrt[", i, "] = \"", name, "\" ", problem,
                                 ": ", schema.name, " has gradients for ",
                                 DifferentiableNames(evaluation), "."));
  }
}

void CheckOutputs(const Evaluation& evaluation, Violations* violations) {
  const LossSchema& schema = evaluation.loss->schema;
  const OutputSet& outputs = evaluation.outputs;
  if (outputs.Has(Output::kGradients) && !evaluation.gradient) {
    violations->Add(Reason::kOptionInvalid, "evaluation.outputs",
                    "OUTPUT_GRADIENTS goes with ComputeGradient only: call it "
                    "instead.");
  }
  const bool activations = outputs.Has(Output::kProbabilities) ||
                           outputs.Has(Output::kLogProbabilities) ||
                           outputs.Has(Output::kPredictedClasses);
  if (activations && !schema.has_probabilities) {
    violations->Add(
        Reason::kOptionInvalid, "evaluation.outputs",
        absl::StrCat(schema.name,
                     " computes no probabilities: leave "
                     "OUTPUT_PROBABILITIES, OUTPUT_LOG_PROBABILITIES "
                     "and OUTPUT_PREDICTED_CLASSES out."));
  }
}

bool InDomain(const TensorSchema& schema, double value) {
  return !(std::isnan(value) || value < schema.minimum.value_or(-INFINITY) ||
           value > schema.maximum.value_or(INFINITY));
}

}  // namespace

void CheckTensors(const Evaluation& evaluation, const EngineLimits& limits,
                  Violations* violations) {
  const LossSchema& schema = evaluation.loss->schema;
  violations->set_loss(schema.name);
  for (size_t slot = 0; slot < schema.tensors.size(); ++slot) {
    const TensorSchema& tensor = schema.tensors[slot];
    const TensorView& view = evaluation.arguments.tensor(slot);
    if (!view.present()) {
      if (!tensor.required) continue;
      violations->Add(Reason::kTensorMissing, tensor.name,
                      absl::StrCat(tensor.name, " is missing: ", schema.name,
                                   " needs it."));
      continue;
    }
    const std::string problem =
        DtypeProblem(schema, evaluation.arguments, static_cast<int>(slot));
    if (!problem.empty() && evaluation.arguments.has(0)) {
      violations->Add(Reason::kDtypeMismatch, tensor.name, problem);
    }
    if (static_cast<int>(view.shape.size()) > limits.max_dimensions) {
      AddLimit(tensor.name,
               absl::StrCat(tensor.name, " has too many dimensions"),
               static_cast<double>(view.shape.size()), limits.max_dimensions,
               "reshape it.", violations);
    }
    if (view.elements > limits.max_elements) {
      AddLimit(tensor.name, absl::StrCat(tensor.name, " has too many elements"),
               static_cast<double>(view.elements),
               static_cast<double>(limits.max_elements), "split it.",
               violations);
    }
  }
  violations->set_loss("");
}

void CheckParameters(const Evaluation& evaluation, Violations* violations) {
  const LossSchema& schema = evaluation.loss->schema;
  for (size_t slot = 0; slot < schema.parameters.size(); ++slot) {
    const ParameterSchema& parameter = schema.parameters[slot];
    const std::optional<double> sent = evaluation.arguments.parameters[slot];
    if (!sent.has_value() || parameter.type == ParameterType::kEnum) continue;
    const double value = *sent;
    const bool below = parameter.minimum_open ? !(value > parameter.minimum)
                                              : !(value >= parameter.minimum);
    const bool infinite = std::isinf(value) && !parameter.infinity_allowed;
    if (!below && value <= parameter.maximum && !infinite) continue;
    violations->Add(
        Reason::kParameterOutOfRange,
        absl::StrCat("evaluation.", schema.name, ".", parameter.name),
        absl::StrCat(parameter.name, " = ", Violations::NumberName(value),
                     " is outside ", parameter.range, "."));
  }
}

void CheckOptions(const Evaluation& evaluation, Violations* violations) {
  const bool mean = IsMean(evaluation);
  if (evaluation.reduction == Reduction::kBatchMean &&
      !evaluation.loss->schema.has_batch_mean) {
    violations->Add(
        Reason::kOptionInvalid, "evaluation.reduction",
        absl::StrCat("reduction = REDUCTION_BATCHMEAN goes with kl_div only: ",
                     evaluation.loss->schema.name,
                     " has REDUCTION_NONE, REDUCTION_MEAN and REDUCTION_SUM."));
  }
  if (evaluation.normalizer.has_value()) {
    const double value = *evaluation.normalizer;
    if (!(value > 0) || std::isinf(value)) {
      violations->Add(
          Reason::kOptionInvalid, "evaluation.normalizer",
          absl::StrCat("normalizer = ", Violations::NumberName(value),
                       " is not finite and greater than 0."));
    }
    if (!mean) {
      violations->Add(Reason::kOptionInvalid, "evaluation.normalizer",
                      "normalizer goes with the mean only: leave it unset, or "
                      "leave reduction unset.");
    }
  }
  CheckOutputs(evaluation, violations);
  CheckWrt(evaluation, violations);
  if (evaluation.gradient_dtype != Dtype::kUnspecified &&
      !IsFloating(evaluation.gradient_dtype)) {
    violations->Add(
        Reason::kOptionInvalid, "gradient_dtype",
        absl::StrCat("gradient_dtype = ", DtypeName(evaluation.gradient_dtype),
                     " is not float16, bfloat16, float32 or "
                     "float64."));
  }
  const TensorView& grad_output = evaluation.grad_output;
  const Dtype lead = evaluation.arguments.tensor(0).dtype;
  if (grad_output.present() && grad_output.dtype != lead && IsFloating(lead)) {
    violations->Add(
        Reason::kDtypeMismatch, "grad_output",
        absl::StrCat("grad_output has dtype ", DtypeName(grad_output.dtype),
                     ", but needs that of ",
                     evaluation.loss->schema.tensors[0].name, " (",
                     DtypeName(lead), ")."));
  }
}

void CheckGradOutput(const Evaluation& evaluation, const Geometry& geometry,
                     Violations* violations) {
  const TensorView& grad_output = evaluation.grad_output;
  if (!grad_output.present() || grad_output.shape.empty()) return;
  const bool none = evaluation.reduction == Reduction::kNone;
  if (none && grad_output.shape == geometry.loss_shape) return;
  violations->Add(
      Reason::kShapeMismatch, "grad_output",
      absl::StrCat("grad_output has shape ", ShapeName(grad_output.shape),
                   ", but the loss has shape ",
                   none ? ShapeName(geometry.loss_shape) : "[]",
                   ": send a scalar (shape []) or a tensor of the loss's "
                   "shape."));
}

void CheckElements(int64_t elements, int64_t units, const EngineLimits& limits,
                   Violations* violations) {
  if (elements > limits.max_elements) {
    AddLimit("evaluation", "the evaluation has too many elementwise losses",
             static_cast<double>(elements),
             static_cast<double>(limits.max_elements), "split it.", violations);
    return;
  }
  if (units <= limits.max_elements) return;
  AddLimit("evaluation", "the evaluation has too many rows",
           static_cast<double>(units), static_cast<double>(limits.max_elements),
           "split it.", violations);
}

void CheckCost(const Cost& cost, int64_t response_bytes,
               const EngineLimits& limits, Violations* violations) {
  if (cost.operations > limits.max_operations) {
    AddLimit("evaluation", "the evaluation needs too many operations",
             cost.operations, limits.max_operations, "split it.", violations);
  }
  if (response_bytes > limits.max_response_bytes) {
    AddLimit("evaluation.outputs", "the answer has too many bytes",
             static_cast<double>(response_bytes),
             static_cast<double>(limits.max_response_bytes),
             "split the evaluation, or ask for less in outputs and wrt.",
             violations);
  }
  if (cost.scratch_bytes > limits.max_scratch_bytes) {
    AddLimit("evaluation", "the evaluation needs too many bytes of scratch",
             static_cast<double>(cost.scratch_bytes),
             static_cast<double>(limits.max_scratch_bytes), "split it.",
             violations);
  }
}

bool IsDifferentiable(const Evaluation& evaluation, int slot) {
  const LossSchema& schema = evaluation.loss->schema;
  const Arguments& arguments = evaluation.arguments;
  if (schema.tensors[slot].role == TensorRole::kWeight) {
    for (size_t i = 0; i < schema.tensors.size(); ++i) {
      if (schema.tensors[i].dtypes == DtypeRule::kClassIndexOrAsLeading &&
          !IsFloating(arguments.tensor(static_cast<int>(i)).dtype)) {
        return false;
      }
    }
  }
  return schema.tensors[slot].differentiable &&
         IsFloating(arguments.tensor(slot).dtype);
}

SlotList GradientSlots(const Evaluation& evaluation) {
  SlotList slots;
  const LossSchema& schema = evaluation.loss->schema;
  for (const std::string& name : evaluation.wrt) {
    if (const int slot = SlotOf(schema, name); slot >= 0) slots.push_back(slot);
  }
  for (size_t slot = 0; evaluation.wrt.empty() && slot < schema.tensors.size();
       ++slot) {
    if (schema.tensors[slot].default_wrt)
      slots.push_back(static_cast<int>(slot));
  }
  return slots;
}

SlotList WantedGradients(const Evaluation& evaluation) {
  const bool wanted = evaluation.outputs.empty()
                          ? evaluation.gradient
                          : evaluation.outputs.Has(Output::kGradients);
  return wanted ? GradientSlots(evaluation) : SlotList();
}

int64_t GradientBytes(const Evaluation& evaluation, int slot) {
  const TensorView& tensor = evaluation.arguments.tensor(slot);
  return tensor.elements *
         DtypeSize(evaluation.gradient_dtype == Dtype::kUnspecified
                       ? tensor.dtype
                       : evaluation.gradient_dtype);
}

void DescribeDomainViolations(const Evaluation& evaluation,
                              uint32_t outside_domain, Violations* violations) {
  const LossSchema& schema = evaluation.loss->schema;
  for (size_t slot = 0; slot < schema.tensors.size(); ++slot) {
    if ((outside_domain >> slot & 1u) == 0) continue;
    const TensorSchema& tensor = schema.tensors[slot];
    const TensorView& view = evaluation.arguments.tensor(slot);
    int64_t bad = 0;
    int64_t first = 0;
    for (int64_t i = 0; i < view.elements; ++i) {
      if (!InDomain(tensor, view.ValueAt(i)) && bad++ == 0) first = i;
    }
    std::string description = absl::StrCat(
        tensor.name, view.PlaceName(first), " = ",
        violations->ValueName(view.ValueAt(first)), " is outside [",
        tensor.minimum.value_or(-INFINITY), ", ",
        tensor.maximum.value_or(INFINITY), "]. ", bad, " of ", view.elements,
        bad == 1 ? " values is" : " values are", " out of range.");
    if (!tensor.domain_hint.empty()) {
      absl::StrAppend(&description, " ", tensor.domain_hint);
    }
    violations->Add(Reason::kValueOutOfRange,
                    absl::StrCat("evaluation.", schema.name, ".", tensor.name),
                    description);
  }
}

}  // namespace lossd
