// SPDX-License-Identifier: Apache-2.0

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/losses/checks.h"
#include "server/losses/loss.h"

namespace lossd::ctc_loss {
namespace {

enum Slot { kLogProbs, kTargets, kInputLengths, kTargetLengths };
enum Parameter { kBlank, kZeroInfinity, kGradientConvention };

TensorSchema Integers(absl::string_view name, TensorRole role,
                      absl::string_view shape_rule,
                      absl::string_view description) {
  return {.name = name,
          .role = role,
          .dtypes = DtypeRule::kClassIndex,
          .required = true,
          .shape_rule = shape_rule,
          .description = description};
}

std::vector<TensorSchema> Tensors() {
  return {NamedInputSchema("log_probs", DtypeRule::kLeading,
                           "[T, N, C] or [T, C]", "The log-probabilities."),
          Integers("targets", TensorRole::kTarget,
                   "[N, S], or [sum of target_lengths]",
                   "The labels, in [0, C) and not the blank: padded, or one "
                   "sequence after the other."),
          Integers("input_lengths", TensorRole::kAuxiliary,
                   "[N]; [] or [1] for [T, C]",
                   "The time steps of each sequence, in [0, T]."),
          Integers("target_lengths", TensorRole::kAuxiliary,
                   "[N]; [] or [1] for [T, C]",
                   "The labels of each sequence, in [0, S].")};
}

std::vector<ParameterSchema> Parameters() {
  return {
      {.name = "blank",
       .type = ParameterType::kInt64,
       .default_value = 0,
       .range = "[0, C)",
       .description = "The class index of the blank.",
       .minimum = 0},
      {.name = "zero_infinity",
       .type = ParameterType::kBool,
       .default_value = 0,
       .range = "false or true",
       .description = "Make infinite losses and their gradients zero."},
      {.name = "gradient_convention",
       .type = ParameterType::kEnum,
       .default_value = 1,
       .range = "one of the choices",
       .description = "LOGITS: PyTorch's gradient, that of the logits whose "
                      "log_softmax log_probs is. LOG_PROBS: the derivative "
                      "with respect to log_probs.",
       .choices = {"LOGITS", "LOG_PROBS"}}};
}

const LossSchema& Schema() {
  static const LossSchema schema = {
      .name = "ctc_loss",
      .summary =
          "The negative log-likelihood of a sequence of labels, summed over "
          "its alignments with the time steps.",
      .formula =
          "-log(sum over alignments of the product over t of "
          "exp(log_probs[t, label at t]))",
      .denominator =
          "the number of sequences, of losses each divided by "
          "max(target_length, 1)",
      .source = "torch.nn.functional.ctc_loss of PyTorch 2.15.0",
      .cost_rule = "T * (2 * S + 1) * 150 + T * C * 40 operations a sequence",
      .differences =
          {"float16, bfloat16, and uint8 targets are accepted too.",
           "A label that is out of range, or the blank, is an error.",
           "A class of log-probability -infinity has the gradient 0, not NaN.",
           "gradient_convention offers the derivative with respect to "
           "log_probs besides PyTorch's."},
      .tensors = Tensors(),
      .parameters = Parameters(),
      .batch_first = false,
  };
  return schema;
}

bool IsBatched(const Arguments& arguments) {
  return arguments.tensor(kLogProbs).shape.size() == 3;
}

int64_t Sequences(const Arguments& arguments) {
  return IsBatched(arguments) ? arguments.tensor(kLogProbs).shape[1] : 1;
}

void CheckLengths(const Arguments& arguments, int slot,
                  Violations* violations) {
  const int64_t sequences = Sequences(arguments);
  const TensorView& lengths = arguments.tensor(slot);
  const bool scalar = lengths.shape.empty() && !IsBatched(arguments);
  if (scalar || lengths.shape == Shape({sequences})) return;
  const absl::string_view name = Schema().tensors[slot].name;
  violations->Add(
      Reason::kShapeMismatch, name,
      absl::StrCat(name, " has shape ", ShapeName(lengths.shape),
                   ", but log_probs of shape ",
                   ShapeName(arguments.tensor(kLogProbs).shape),
                   " needs one length for each sequence: ",
                   IsBatched(arguments) ? "" : "[] or ", "[", sequences, "]."));
}

// As in "log_probs of shape [5, 2, 3] has C = 3 classes".
std::string ClassesName(const TensorView& log_probs) {
  const int64_t classes = log_probs.shape.back();
  return absl::StrCat("log_probs of shape ", ShapeName(log_probs.shape),
                      " has C = ", classes,
                      classes == 1 ? " class" : " classes");
}

void CheckShapes(const Arguments& arguments, Violations* violations) {
  const TensorView& log_probs = arguments.tensor(kLogProbs);
  if (log_probs.shape.size() != 2 && log_probs.shape.size() != 3) {
    violations->Add(
        Reason::kShapeMismatch, "log_probs",
        absl::StrCat("log_probs has shape ", ShapeName(log_probs.shape),
                     ", but ctc_loss needs [T, N, C] or [T, C]."));
    return;
  }
  if (log_probs.elements == 0) {
    violations->Add(
        Reason::kShapeMismatch, "log_probs",
        absl::StrCat("log_probs has shape ", ShapeName(log_probs.shape),
                     ", but ctc_loss needs at least one time step, one "
                     "sequence and one class."));
    return;
  }
  CheckLengths(arguments, kInputLengths, violations);
  CheckLengths(arguments, kTargetLengths, violations);
  const Shape& targets = arguments.tensor(kTargets).shape;
  const bool padded = targets.size() == 2 && targets[0] == Sequences(arguments);
  if (targets.size() != 1 && !padded) {
    violations->Add(
        Reason::kShapeMismatch, "targets",
        absl::StrCat("targets has shape ", ShapeName(targets),
                     ", but log_probs of shape ", ShapeName(log_probs.shape),
                     " needs [", Sequences(arguments),
                     ", S], or [sum of target_lengths]."));
  }
  const double blank = *arguments.parameter(Schema(), kBlank);
  if (blank >= static_cast<double>(log_probs.shape.back())) {
    violations->Add(Reason::kParameterOutOfRange, "blank",
                    absl::StrCat("blank = ", Violations::NumberName(blank),
                                 " is outside [0, ", log_probs.shape.back(),
                                 "): ", ClassesName(log_probs), "."));
  }
}

// Adds a violation of an index tensor: `bad` of the `checked` elements, which
// `what` names, are wrong, the first of them at `first`.
void AddIndex(const Arguments& arguments, int slot, int64_t first, int64_t bad,
              int64_t checked, absl::string_view what, const std::string& rule,
              Violations* violations) {
  const TensorView& tensor = arguments.tensor(slot);
  const absl::string_view name = Schema().tensors[slot].name;
  violations->Add(Reason::kTargetOutOfRange, name,
                  absl::StrCat(name, IndexName(first, tensor.shape), " = ",
                               violations->ValueName(tensor.IndexAt(first)),
                               rule, " ", bad, " of ", checked, " ", what,
                               bad == 1 ? " is" : " are", " out of range."));
}

// Whether every length is in [0, most].
bool CheckRange(const Arguments& arguments, int slot, int64_t most,
                const std::string& why, Violations* violations) {
  const TensorView& lengths = arguments.tensor(slot);
  int64_t bad = 0;
  int64_t first = 0;
  for (int64_t i = 0; i < lengths.elements; ++i) {
    const int64_t length = lengths.IndexAt(i);
    if (length >= 0 && length <= most) continue;
    if (bad++ == 0) first = i;
  }
  if (bad == 0) return true;
  AddIndex(arguments, slot, first, bad, lengths.elements, "lengths",
           absl::StrCat(" is outside [0, ", most, "]: ", why, "."), violations);
  return false;
}

// The labels that are read: in [0, C), and not the blank.
void CheckLabels(const Arguments& arguments, Violations* violations) {
  const TensorView& targets = arguments.tensor(kTargets);
  const TensorView& lengths = arguments.tensor(kTargetLengths);
  const int64_t classes = arguments.tensor(kLogProbs).shape.back();
  const auto blank =
      static_cast<int64_t>(*arguments.parameter(Schema(), kBlank));
  const bool padded = targets.shape.size() == 2;
  int64_t bad = 0;
  int64_t first_bad = 0;
  int64_t checked = 0;
  int64_t begin = 0;
  for (int64_t n = 0; n < lengths.elements; ++n) {
    if (padded) begin = n * targets.shape[1];
    const int64_t end = begin + lengths.IndexAt(n);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t label = targets.IndexAt(i);
      if (label >= 0 && label < classes && label != blank) continue;
      if (bad++ == 0) first_bad = i;
    }
    checked += lengths.IndexAt(n);
    begin = end;
  }
  if (bad == 0) return;
  AddIndex(arguments, kTargets, first_bad, bad, checked, "labels",
           absl::StrCat(" is outside [0, ", classes, ") or is the blank: ",
                        ClassesName(arguments.tensor(kLogProbs)),
                        " and blank = ", blank, "."),
           violations);
}

// Whether the target lengths agree with targets that lie one after the other.
bool CheckSum(const Arguments& arguments, Violations* violations) {
  const TensorView& targets = arguments.tensor(kTargets);
  if (targets.shape.size() == 2) return true;
  const TensorView& lengths = arguments.tensor(kTargetLengths);
  int64_t sum = 0;
  for (int64_t i = 0; i < lengths.elements; ++i) sum += lengths.IndexAt(i);
  const bool unbatched = !IsBatched(arguments);
  if (sum == targets.elements || (unbatched && sum < targets.elements)) {
    return true;
  }
  violations->Add(Reason::kShapeMismatch, "targets",
                  absl::StrCat("targets has ", targets.elements,
                               " labels, but target_lengths add up to ", sum,
                               ": send the labels of all sequences one after "
                               "the other, or pad them to [N, S]."));
  return false;
}

Geometry Plan(const Arguments& arguments, Violations* violations) {
  const TensorView& log_probs = arguments.tensor(kLogProbs);
  const TensorView& targets = arguments.tensor(kTargets);
  const TensorView& lengths = arguments.tensor(kTargetLengths);
  Geometry geometry;
  geometry.row_loss = true;
  geometry.over_sequences = true;
  geometry.rows = Sequences(arguments);
  geometry.row_length = log_probs.shape.back();
  geometry.steps = log_probs.shape[0];
  geometry.element_count = geometry.rows;
  geometry.mean_denominator = static_cast<double>(geometry.rows);
  if (IsBatched(arguments)) geometry.loss_shape = {geometry.rows};
  BindParameters(Schema(), arguments, &geometry);

  geometry.counted = targets.readable() && lengths.readable() &&
                     arguments.tensor(kInputLengths).readable();
  int64_t most = targets.shape.back();
  if (geometry.counted) {
    bool good = CheckRange(
        arguments, kInputLengths, geometry.steps,
        absl::StrCat("log_probs of shape ", ShapeName(log_probs.shape),
                     " has T = ", geometry.steps,
                     geometry.steps == 1 ? " time step" : " time steps"),
        violations);
    good = CheckRange(
               arguments, kTargetLengths, most,
               absl::StrCat("targets of shape ", ShapeName(targets.shape),
                            " has ", most, most == 1 ? " label" : " labels",
                            targets.shape.size() == 2 ? " for each sequence"
                                                      : " for all sequences"),
               violations) &&
           good;
    if (good && CheckSum(arguments, violations)) {
      CheckLabels(arguments, violations);
    }
    int64_t longest = 0;
    for (int64_t i = 0; i < lengths.elements; ++i) {
      longest = std::max(longest, lengths.IndexAt(i));
    }
    most = std::min(most, longest);
  }
  geometry.labels = most;
  // In double: the products may be beyond 64 bits.
  const double steps = static_cast<double>(geometry.steps);
  const double states = 2.0 * static_cast<double>(most) + 1;
  const double classes = static_cast<double>(geometry.row_length);
  geometry.operations = static_cast<double>(geometry.rows) *
                        (steps * states * 150 + steps * classes * 40);
  const double scratch = ((steps + 6) * (states + 48) + 3 * classes + 48) * 8;
  geometry.scratch_bytes = static_cast<int64_t>(std::min(scratch, 9.0e18));
  return geometry;
}

}  // namespace

const LossDefinition& Definition() {
  static const LossDefinition definition = {Schema(), CheckShapes, Plan, 40};
  return definition;
}

}  // namespace lossd::ctc_loss
