// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/wire_binding.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace lossd {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using Problems = std::vector<std::string>;

constexpr char kTensorType[] = "lossd.v1.Tensor";

// "KlEstimator" is "KL_ESTIMATOR".
std::string ScreamingName(absl::string_view name) {
  std::string screaming;
  for (char c : name) {
    if (absl::ascii_isupper(c) && !screaming.empty()) screaming += '_';
    screaming += absl::ascii_toupper(c);
  }
  return screaming;
}

void CheckChoices(const ParameterSchema& parameter, const EnumDescriptor& type,
                  Problems* problems) {
  const std::string prefix = absl::StrCat(ScreamingName(type.name()), "_");
  std::vector<std::string> wanted = {absl::StrCat(prefix, "UNSPECIFIED")};
  for (absl::string_view choice : parameter.choices) {
    wanted.push_back(absl::StrCat(prefix, choice));
  }
  std::vector<std::string> found(wanted.size());
  bool agree = type.value_count() == static_cast<int>(wanted.size());
  for (size_t number = 0; number < wanted.size(); ++number) {
    const auto* value = type.FindValueByNumber(static_cast<int>(number));
    agree = agree && value != nullptr && value->name() == wanted[number];
  }
  if (!agree) {
    problems->push_back(absl::StrCat(type.full_name(),
                                     " must have, from 0, the values ",
                                     absl::StrJoin(wanted, ", ")));
  }
}

FieldDescriptor::CppType TypeOf(ParameterType type) {
  switch (type) {
    case ParameterType::kInt64:
      return FieldDescriptor::CPPTYPE_INT64;
    case ParameterType::kBool:
      return FieldDescriptor::CPPTYPE_BOOL;
    case ParameterType::kEnum:
      return FieldDescriptor::CPPTYPE_ENUM;
    case ParameterType::kDouble:
      break;
  }
  return FieldDescriptor::CPPTYPE_DOUBLE;
}

void CheckParameter(const ParameterSchema& parameter,
                    const FieldDescriptor& field, Problems* problems) {
  const FieldDescriptor::CppType type = TypeOf(parameter.type);
  if (field.is_repeated() || field.cpp_type() != type) {
    problems->push_back(absl::StrCat(field.full_name(), " must be a single ",
                                     FieldDescriptor::CppTypeName(type)));
    return;
  }
  const bool is_enum = parameter.type == ParameterType::kEnum;
  if (is_enum) CheckChoices(parameter, *field.enum_type(), problems);
  // The zero of an enum is its UNSPECIFIED, which is as good as unset.
  const bool wanted = !is_enum && parameter.default_value != 0.0;
  if (field.has_optional_keyword() != wanted) {
    problems->push_back(
        absl::StrCat(field.full_name(), wanted ? " must be" : " must not be",
                     " optional: its default is ",
                     parameter.default_value.has_value()
                         ? absl::StrCat(*parameter.default_value)
                         : "off"));
  }
}

const FieldDescriptor* FindField(const Descriptor& message,
                                 absl::string_view name, Problems* problems) {
  const FieldDescriptor* field = message.FindFieldByName(std::string(name));
  if (field == nullptr) {
    problems->push_back(absl::StrCat(message.full_name(), " has no ", name));
  }
  return field;
}

// Parameters in the order of the schema, then tensors, the first one last.
void CheckOrder(const BoundLoss& loss, Problems* problems) {
  int last = 0;
  bool ordered = true;
  for (const FieldDescriptor* field : loss.parameters) {
    ordered = ordered && field->number() > last;
    last = field->number();
  }
  for (const FieldDescriptor* field : loss.tensors) {
    ordered = ordered && field->number() > last &&
              field->number() <= loss.tensors[0]->number();
  }
  if (!ordered) {
    problems->push_back(absl::StrCat(
        loss.field->message_type()->full_name(),
        " must number its parameters in the order of the schema, and then its "
        "tensors, ",
        loss.schema().tensors[0].name, " last"));
  }
}

// Every field is bound.
void IndexSlots(BoundLoss* loss) {
  using Kind = BoundLoss::Slot::Kind;
  const auto index = [loss](const auto& fields, Kind kind) {
    for (size_t slot = 0; slot < fields.size(); ++slot) {
      const auto number = static_cast<size_t>(fields[slot]->number());
      if (number >= loss->by_number.size()) loss->by_number.resize(number + 1);
      loss->by_number[number] = {kind, static_cast<int>(slot)};
    }
  };
  index(loss->parameters, Kind::kParameter);
  index(loss->tensors, Kind::kTensor);
}

BoundLoss BindLoss(const LossDefinition& definition,
                   const FieldDescriptor& field, Problems* problems) {
  BoundLoss loss;
  loss.definition = &definition;
  loss.field = &field;
  const Descriptor& message = *field.message_type();
  const size_t before = problems->size();
  for (const ParameterSchema& parameter : definition.schema.parameters) {
    const auto* bound = FindField(message, parameter.name, problems);
    if (bound != nullptr) CheckParameter(parameter, *bound, problems);
    loss.parameters.push_back(bound);
  }
  for (const TensorSchema& tensor : definition.schema.tensors) {
    const auto* bound = FindField(message, tensor.name, problems);
    if (bound != nullptr &&
        (bound->is_repeated() || bound->message_type() == nullptr ||
         bound->message_type()->full_name() != kTensorType)) {
      problems->push_back(
          absl::StrCat(bound->full_name(), " must be a ", kTensorType));
    }
    loss.tensors.push_back(bound);
  }
  const size_t slots = loss.parameters.size() + loss.tensors.size();
  if (problems->size() == before &&
      slots != static_cast<size_t>(message.field_count())) {
    problems->push_back(absl::StrCat(
        message.full_name(), " has ", message.field_count(),
        " fields, but its schema has ", slots, " tensors and parameters"));
  }
  if (problems->size() == before) {
    CheckOrder(loss, problems);
    IndexSlots(&loss);
  }
  return loss;
}

}  // namespace

std::string BoundLoss::Path(absl::string_view name) const {
  return absl::StrCat("evaluation.", schema().name, ".", name);
}

absl::StatusOr<WireBinding> WireBinding::Create(
    absl::Span<const LossDefinition* const> losses,
    const Descriptor& evaluation) {
  const auto* oneof = evaluation.FindOneofByName("loss");
  if (oneof == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat(evaluation.full_name(), " has no oneof loss"));
  }
  WireBinding binding;
  Problems problems;
  for (const LossDefinition* loss : losses) {
    const auto* field = FindField(evaluation, loss->schema.name, &problems);
    if (field == nullptr) continue;
    if (field->containing_oneof() != oneof ||
        field->message_type() == nullptr) {
      problems.push_back(absl::StrCat(field->full_name(),
                                      " must be a message of the oneof loss"));
      continue;
    }
    binding.index_by_number_[field->number()] =
        static_cast<int>(binding.losses_.size());
    binding.losses_.push_back(BindLoss(*loss, *field, &problems));
  }
  for (int i = 0; i < oneof->field_count(); ++i) {
    if (binding.Find(oneof->field(i)->number()) == nullptr) {
      problems.push_back(
          absl::StrCat(oneof->field(i)->full_name(), " has no schema"));
    }
  }
  if (!problems.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the contract and the losses disagree: ",
                     absl::StrJoin(problems, "; ")));
  }
  return binding;
}

BoundLoss::Slot BoundLoss::SlotOf(int field_number) const {
  const auto number = static_cast<size_t>(field_number);
  return number < by_number.size() ? by_number[number] : Slot();
}

const BoundLoss* WireBinding::Find(int field_number) const {
  const auto found = index_by_number_.find(field_number);
  return found == index_by_number_.end() ? nullptr : &losses_[found->second];
}

}  // namespace lossd
