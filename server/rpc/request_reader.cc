// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/request_reader.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/rpc/tensor_wire.h"
#include "server/rpc/unknown_fields.h"

namespace lossd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr size_t kMaxRequestIdBytes = 128;
// A parameter travels as a double, which holds integers up to here.
constexpr int64_t kMaxExactInteger = int64_t{1} << 53;

std::string UnknownNumber(absl::string_view name, int number) {
  return absl::StrCat(name, " has the number ", number,
                      ", which this server does not know.");
}

// The parameter as sent, or nullopt where it is unset.
std::optional<double> ReadParameter(const Message& message,
                                    const FieldDescriptor& field,
                                    const ParameterSchema& schema,
                                    const std::string& path,
                                    Violations* violations) {
  const auto& reflection = *message.GetReflection();
  if (!reflection.HasField(message, &field)) return std::nullopt;
  switch (schema.type) {
    case ParameterType::kDouble:
      return reflection.GetDouble(message, &field);
    case ParameterType::kBool:
      return reflection.GetBool(message, &field) ? 1 : 0;
    case ParameterType::kInt64: {
      const int64_t value = reflection.GetInt64(message, &field);
      if (value < -kMaxExactInteger || value > kMaxExactInteger) {
        violations->Add(Reason::kParameterOutOfRange, path,
                        absl::StrCat(schema.name, " = ", value,
                                     " is outside [-2^53, 2^53]."));
      }
      return static_cast<double>(value);
    }
    case ParameterType::kEnum: {
      const int number = reflection.GetEnumValue(message, &field);
      if (number < 1 || number > static_cast<int>(schema.choices.size())) {
        violations->Add(
            Reason::kParameterOutOfRange, path,
            absl::StrCat(UnknownNumber(schema.name, number), " It knows ",
                         absl::StrJoin(schema.choices, ", "), "."));
      }
      return number;
    }
  }
  return std::nullopt;
}

bool IsPrintable(absl::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return absl::ascii_isprint(c); });
}

}  // namespace

// One reading of one request.
class RequestReader::Pass {
 public:
  // With `shapes_suffice` tensors may be without content.
  Pass(const RequestReader& reader, const SharedAccess& access,
       DecodedRequest* decoded, bool shapes_suffice, Violations* violations)
      : reader_(reader),
        access_(access),
        decoded_(*decoded),
        evaluation_(decoded->evaluation),
        violations_(violations),
        tensors_(reader.max_dimensions_, shapes_suffice, access,
                 &decoded->shared, &decoded->numbers, violations) {}

  // Finds the loss and reads the hints; false where the rest shall not be read.
  bool Begin(const Message& request, const v1::Evaluation& evaluation) {
    loss_ = reader_.binding_.Find(evaluation.loss_case());
    if (loss_ != nullptr) evaluation_.loss = loss_->definition;
    FindUnknownFields(request, reader_.version_, violations_);
    const bool known = violations_->empty();
    ReadHints(evaluation.hints());
    return known;
  }

  void ReadEvaluation(const v1::Evaluation& wire) {
    if (loss_ == nullptr) {
      violations_->Add(Reason::kLossNotSet, "evaluation.loss", NoLoss());
    } else {
      ReadLoss(wire.GetReflection()->GetMessage(wire, loss_->field));
    }
    if (!v1::Reduction_IsValid(wire.reduction())) {
      AddOption("evaluation.reduction",
                UnknownNumber("reduction", wire.reduction()));
    }
    if (!v1::Device_IsValid(wire.device())) {
      AddOption("evaluation.device", UnknownNumber("device", wire.device()));
    }
    evaluation_.validate_only = wire.validate_only();
    evaluation_.reduction = static_cast<Reduction>(wire.reduction());
    evaluation_.device = static_cast<DeviceClass>(wire.device());
    if (wire.has_normalizer()) evaluation_.normalizer = wire.normalizer();
    for (int i = 0; i < wire.outputs_size(); ++i) {
      const v1::Output output = wire.outputs(i);
      if (output == v1::OUTPUT_UNSPECIFIED || !v1::Output_IsValid(output)) {
        const std::string name = absl::StrCat("outputs[", i, "]");
        AddOption(absl::StrCat("evaluation.", name),
                  UnknownNumber(name, output));
      } else {
        evaluation_.outputs.Add(static_cast<Output>(output));
      }
    }
  }

  void ReadGradientOptions(const v1::ComputeGradientRequest& wire) {
    evaluation_.gradient = true;
    evaluation_.wrt.assign(wire.wrt().begin(), wire.wrt().end());
    if (!v1::Dtype_IsValid(wire.gradient_dtype())) {
      AddOption("gradient_dtype",
                UnknownNumber("gradient_dtype", wire.gradient_dtype()));
    } else {
      evaluation_.gradient_dtype = static_cast<Dtype>(wire.gradient_dtype());
    }
    if (wire.has_grad_output()) {
      evaluation_.grad_output =
          tensors_.Read(wire.grad_output(), DtypeRule::kSameAsLeading,
                        {"grad_output", "grad_output"});
    }
    for (const v1::SharedMemory& place : wire.gradient_memory()) {
      decoded_.shared.AddGradient(access_, place.token(), place.offset(),
                                  violations_);
    }
    evaluation_.gradients_elsewhere = wire.gradient_memory_size() > 0;
  }

  void Finish() { decoded_.answer_in_values = tensors_.only_values(); }

 private:
  void ReadHints(const v1::CallHints& hints) {
    if (hints.request_id().size() > kMaxRequestIdBytes ||
        !IsPrintable(hints.request_id())) {
      AddOption("evaluation.hints.request_id",
                absl::StrCat("request_id must be at most ", kMaxRequestIdBytes,
                             " bytes of printable ASCII."));
    } else {
      decoded_.request_id = hints.request_id();
    }
    // An urgency that is not known here is the ordinary one: hints never fail a
    // call for being new.
    decoded_.low_priority = hints.priority() == v1::PRIORITY_LOW;
  }

  void ReadLoss(const Message& message) {
    const LossSchema& schema = loss_->schema();
    const auto& reflection = *message.GetReflection();
    for (size_t slot = 0; slot < schema.tensors.size(); ++slot) {
      const TensorSchema& tensor = schema.tensors[slot];
      const std::string path = loss_->Path(tensor.name);
      if (reflection.HasField(message, loss_->tensors[slot])) {
        const auto& wire = static_cast<const v1::Tensor&>(
            reflection.GetMessage(message, loss_->tensors[slot]));
        evaluation_.arguments.tensors[slot] =
            tensors_.Read(wire, tensor.dtypes, {tensor.name, path});
      } else if (tensor.required) {
        violations_->Add(Reason::kTensorMissing, path,
                         absl::StrCat(tensor.name, " is missing: ", schema.name,
                                      " needs it."));
      }
    }
    for (size_t slot = 0; slot < schema.parameters.size(); ++slot) {
      const ParameterSchema& parameter = schema.parameters[slot];
      evaluation_.arguments.parameters.push_back(
          ReadParameter(message, *loss_->parameters[slot], parameter,
                        loss_->Path(parameter.name), violations_));
    }
  }

  std::string NoLoss() const {
    std::vector<absl::string_view> names;
    for (const BoundLoss& loss : reader_.binding_.losses()) {
      names.push_back(loss.schema().name);
    }
    return absl::StrCat("no loss is set: set one of ",
                        absl::StrJoin(names, ", "),
                        ", as in {\"evaluation\": {\"mse_loss\": {...}}}.");
  }

  void AddOption(absl::string_view field, std::string description) {
    violations_->Add(Reason::kOptionInvalid, field, std::move(description));
  }

  const RequestReader& reader_;
  const SharedAccess& access_;
  DecodedRequest& decoded_;
  Evaluation& evaluation_;
  Violations* const violations_;
  TensorReader tensors_;
  const BoundLoss* loss_ = nullptr;
};

void RequestReader::Read(const v1::ComputeLossRequest& request,
                         const SharedAccess& access, DecodedRequest* decoded,
                         Violations* violations) const {
  Pass pass(*this, access, decoded, request.evaluation().validate_only(),
            violations);
  if (!pass.Begin(request, request.evaluation())) return;
  pass.ReadEvaluation(request.evaluation());
  pass.Finish();
}

void RequestReader::Read(const v1::ComputeGradientRequest& request,
                         const SharedAccess& access, DecodedRequest* decoded,
                         Violations* violations) const {
  Pass pass(*this, access, decoded, request.evaluation().validate_only(),
            violations);
  if (!pass.Begin(request, request.evaluation())) return;
  pass.ReadEvaluation(request.evaluation());
  pass.ReadGradientOptions(request);
  pass.Finish();
}

void RequestReader::Read(const v1::RowsHead& head, DecodedRequest* decoded,
                         Violations* violations) const {
  const bool gradient = head.has_gradient();
  const v1::Evaluation& evaluation =
      gradient ? head.gradient().evaluation() : head.loss().evaluation();
  // Rows are sent.
  const SharedAccess none;
  Pass pass(*this, none, decoded, true, violations);
  if (!pass.Begin(head, evaluation)) return;
  pass.ReadEvaluation(evaluation);
  if (gradient) pass.ReadGradientOptions(head.gradient());
  pass.Finish();
}

}  // namespace lossd
