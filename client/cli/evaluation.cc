// SPDX-License-Identifier: Apache-2.0
#include "client/cli/evaluation.h"

#include <google/protobuf/message.h>

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/cli/number.h"
#include "client/cli/schema.h"
#include "lossd/tensor.h"

namespace lossd::cli {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// A field's name and the numbers that were given for it.
using Arrays = std::map<std::string, Array>;

// A field's name and the dtype that was asked for it.
using Dtypes = std::map<std::string, v1::Dtype>;

constexpr absl::string_view kDtypeSuffix = "_dtype";

absl::Status WithFlag(const absl::Status& status, absl::string_view flag) {
  return absl::Status(status.code(),
                      absl::StrCat("--", flag, ": ", status.message()));
}

absl::Status UnknownFlag(absl::string_view name, const Descriptor& message,
                         absl::string_view loss) {
  std::vector<std::string> tensors;
  std::vector<std::string> parameters;
  std::vector<std::string> names;
  for (int i = 0; i < message.field_count(); ++i) {
    const FieldDescriptor& field = *message.field(i);
    (IsTensor(field) ? tensors : parameters)
        .push_back(absl::StrCat("--", field.name()));
    names.push_back(field.name());
  }
  std::reverse(tensors.begin(), tensors.end());
  for (const char* option :
       {"reduction", "normalizer", "dtype", "device", "outputs", "server",
        "timeout", "json", "full", "wrt", "grad-output", "gradient-dtype",
        "shared-memory", "help"}) {
    names.push_back(option);
  }
  const std::string nearest = Nearest(name, names);
  std::string text = absl::StrCat(loss, " has no --", name);
  if (!nearest.empty()) {
    absl::StrAppend(&text, "; did you mean --", nearest, "?");
  }
  absl::StrAppend(&text, "\ntensors: ", absl::StrJoin(tensors, ", "));
  if (!parameters.empty()) {
    absl::StrAppend(&text, "\nparameters: ", absl::StrJoin(parameters, ", "));
  }
  return absl::InvalidArgumentError(text);
}

absl::StatusOr<bool> ParseBool(const std::string& value) {
  if (absl::EqualsIgnoreCase(value, "true") || value == "1") return true;
  if (absl::EqualsIgnoreCase(value, "false") || value == "0") return false;
  return absl::InvalidArgumentError(
      absl::StrCat("'", value, "' is neither true nor false"));
}

absl::Status SetParameter(const FieldDescriptor& field,
                          const std::string& value, Message& loss) {
  const auto& reflection = *loss.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_DOUBLE: {
      const std::optional<double> number = ParseDouble(value);
      if (!number.has_value()) {
        return absl::InvalidArgumentError(
            absl::StrCat("'", value, "' is not a number"));
      }
      reflection.SetDouble(&loss, &field, *number);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_INT64: {
      const std::optional<int64_t> number = ParseInteger(value);
      if (!number.has_value()) {
        return absl::InvalidArgumentError(
            absl::StrCat("'", value, "' is not an integer"));
      }
      reflection.SetInt64(&loss, &field, *number);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_BOOL: {
      const absl::StatusOr<bool> truth = ParseBool(value);
      if (!truth.ok()) return truth.status();
      reflection.SetBool(&loss, &field, *truth);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_ENUM: {
      const absl::StatusOr<int> choice = ParseEnum(*field.enum_type(), value);
      if (!choice.ok()) return choice.status();
      reflection.SetEnumValue(&loss, &field, *choice);
      return absl::OkStatus();
    }
    default:
      return absl::UnimplementedError("this lossctl cannot set it");
  }
}

// The tensor whose dtype a flag such as `--target-dtype` names, or null.
const FieldDescriptor* TensorOfDtypeFlag(const Descriptor& loss,
                                         absl::string_view flag) {
  if (!absl::ConsumeSuffix(&flag, kDtypeSuffix)) return nullptr;
  const FieldDescriptor* field = loss.FindFieldByName(std::string(flag));
  return field != nullptr && IsTensor(*field) ? field : nullptr;
}

absl::Status ReadDtypeFlag(const LossFlag& flag, const FieldDescriptor& tensor,
                           Dtypes& dtypes) {
  const auto dtype =
      ParseEnum(*v1::Dtype_descriptor(), flag.value.value_or(""));
  if (!dtype.ok()) return WithFlag(dtype.status(), flag.name);
  dtypes[tensor.name()] = static_cast<v1::Dtype>(*dtype);
  return absl::OkStatus();
}

// Sets the parameters of `loss`, and reads its tensors into `arrays` and the
// dtypes that are asked for them into `dtypes`.
absl::Status ReadFlags(const LossOptions& options, Source& source,
                       Message& loss, Arrays& arrays, Dtypes& dtypes) {
  std::set<std::string> seen;
  for (const LossFlag& flag : options.flags) {
    const FieldDescriptor* of_dtype =
        TensorOfDtypeFlag(*loss.GetDescriptor(), flag.name);
    if (of_dtype != nullptr) {
      absl::Status status = ReadDtypeFlag(flag, *of_dtype, dtypes);
      if (!status.ok()) return status;
      continue;
    }
    const FieldDescriptor* field =
        loss.GetDescriptor()->FindFieldByName(flag.name);
    if (field == nullptr) {
      return UnknownFlag(flag.name, *loss.GetDescriptor(), options.loss);
    }
    if (!seen.insert(flag.name).second) {
      return WithFlag(absl::InvalidArgumentError("is given twice"), flag.name);
    }
    const bool is_switch =
        !IsTensor(*field) && field->cpp_type() == FieldDescriptor::CPPTYPE_BOOL;
    if (!flag.value.has_value() && !is_switch) {
      return WithFlag(absl::InvalidArgumentError("needs a value"), flag.name);
    }
    absl::Status status = absl::OkStatus();
    if (IsTensor(*field)) {
      absl::StatusOr<Array> array = source.Read(*flag.value);
      status = array.status();
      if (array.ok()) arrays[flag.name] = *std::move(array);
    } else {
      status = SetParameter(*field, flag.value.value_or("true"), loss);
    }
    if (!status.ok()) return WithFlag(status, flag.name);
  }
  return absl::OkStatus();
}

// The dtype of the floating tensors.
absl::StatusOr<v1::Dtype> FloatingDtype(const LossOptions& options,
                                        const Arrays& arrays) {
  if (!options.dtype.empty()) {
    const absl::StatusOr<int> dtype =
        ParseEnum(*v1::Dtype_descriptor(), options.dtype);
    if (!dtype.ok()) return WithFlag(dtype.status(), "dtype");
    if (!IsFloating(static_cast<v1::Dtype>(*dtype))) {
      return WithFlag(
          absl::InvalidArgumentError(absl::StrCat(
              options.dtype,
              " is not floating: float16, bfloat16, float32 or float64")),
          "dtype");
    }
    return static_cast<v1::Dtype>(*dtype);
  }
  const std::pair<const std::string, Array>* first = nullptr;
  for (const auto& entry : arrays) {
    if (!IsFloating(entry.second.dtype)) continue;
    if (first == nullptr) {
      first = &entry;
    } else if (first->second.dtype != entry.second.dtype) {
      return absl::InvalidArgumentError(absl::StrCat(
          first->first, " is ", DtypeName(first->second.dtype), " and ",
          entry.first, " is ", DtypeName(entry.second.dtype),
          ": say which with --dtype"));
    }
  }
  return first == nullptr ? v1::DTYPE_FLOAT32 : first->second.dtype;
}

v1::Dtype ChooseDtype(const Array& array,
                      const v1::TensorDescriptor* descriptor,
                      v1::Dtype floating,
                      const std::vector<int64_t>* first_shape) {
  if (!array.is_integer()) return floating;
  const v1::Dtype own = array.dtype != v1::DTYPE_UNSPECIFIED ? array.dtype
                        : array.kind == Array::Kind::kBool   ? v1::DTYPE_BOOL
                                                             : v1::DTYPE_INT64;
  if (descriptor == nullptr) return own;
  bool takes_floating = false;
  bool takes_integers = false;
  bool takes_own = false;
  for (const int number : descriptor->dtypes()) {
    const auto dtype = static_cast<v1::Dtype>(number);
    takes_own = takes_own || dtype == own;
    takes_floating = takes_floating || IsFloating(dtype);
    takes_integers =
        takes_integers || (!IsFloating(dtype) && dtype != v1::DTYPE_BOOL);
  }
  if (!takes_integers && !takes_own) return floating;
  const bool from_file = array.dtype != v1::DTYPE_UNSPECIFIED;
  if (takes_own && (from_file || own == v1::DTYPE_BOOL)) return own;
  if (takes_floating && first_shape != nullptr && array.shape == *first_shape) {
    return floating;
  }
  return from_file ? own : v1::DTYPE_INT64;
}

absl::Status SetTensors(const Arrays& arrays, const Dtypes& dtypes,
                        const v1::LossDescriptor& descriptor,
                        v1::Dtype floating, Message& loss) {
  const std::vector<int64_t>* first_shape = nullptr;
  if (descriptor.tensors_size() > 0) {
    const auto first = arrays.find(descriptor.tensors(0).name());
    if (first != arrays.end()) first_shape = &first->second.shape;
  }
  for (const auto& [name, array] : arrays) {
    const auto asked = dtypes.find(name);
    const v1::Dtype dtype =
        asked != dtypes.end() ? asked->second
                              : ChooseDtype(array, FindTensor(descriptor, name),
                                            floating, first_shape);
    absl::StatusOr<v1::Tensor> tensor = ToTensor(array, dtype);
    if (!tensor.ok()) return WithFlag(tensor.status(), name);
    const FieldDescriptor* field = loss.GetDescriptor()->FindFieldByName(name);
    loss.GetReflection()
        ->MutableMessage(&loss, field)
        ->GetReflection()
        ->Swap(loss.GetReflection()->MutableMessage(&loss, field), &*tensor);
  }
  return absl::OkStatus();
}

absl::Status SetGeneralOptions(const LossOptions& options,
                               v1::Evaluation& evaluation) {
  if (!options.reduction.empty()) {
    const auto reduction =
        ParseEnum(*v1::Reduction_descriptor(), options.reduction);
    if (!reduction.ok()) return WithFlag(reduction.status(), "reduction");
    evaluation.set_reduction(static_cast<v1::Reduction>(*reduction));
  }
  if (options.normalizer.has_value()) {
    evaluation.set_normalizer(*options.normalizer);
  }
  if (!options.device.empty()) {
    const auto device = ParseEnum(*v1::Device_descriptor(), options.device);
    if (!device.ok()) return WithFlag(device.status(), "device");
    evaluation.set_device(static_cast<v1::Device>(*device));
  }
  for (absl::string_view name :
       absl::StrSplit(options.outputs, ',', absl::SkipWhitespace())) {
    const auto output =
        ParseEnum(*v1::Output_descriptor(), absl::StripAsciiWhitespace(name));
    if (!output.ok()) return WithFlag(output.status(), "outputs");
    evaluation.add_outputs(static_cast<v1::Output>(*output));
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::Evaluation> Build(const LossOptions& options,
                                     const v1::LossDescriptor& descriptor,
                                     Source& source, v1::Dtype& floating) {
  absl::StatusOr<const FieldDescriptor*> field = FindLoss(options.loss);
  if (!field.ok()) return field.status();
  v1::Evaluation evaluation;
  if (absl::Status status = SetGeneralOptions(options, evaluation);
      !status.ok()) {
    return status;
  }
  Message& loss =
      *evaluation.GetReflection()->MutableMessage(&evaluation, *field);
  Arrays arrays;
  Dtypes dtypes;
  if (absl::Status status = ReadFlags(options, source, loss, arrays, dtypes);
      !status.ok()) {
    return status;
  }
  const absl::StatusOr<v1::Dtype> dtype = FloatingDtype(options, arrays);
  if (!dtype.ok()) return dtype.status();
  floating = *dtype;
  if (absl::Status status =
          SetTensors(arrays, dtypes, descriptor, floating, loss);
      !status.ok()) {
    return status;
  }
  return evaluation;
}

}  // namespace

absl::StatusOr<v1::Evaluation> BuildEvaluation(
    const LossOptions& options, const v1::LossDescriptor& descriptor,
    Source& source) {
  v1::Dtype floating;
  return Build(options, descriptor, source, floating);
}

absl::StatusOr<v1::ComputeGradientRequest> BuildGradientRequest(
    const LossOptions& options, const v1::LossDescriptor& descriptor,
    Source& source) {
  v1::ComputeGradientRequest request;
  v1::Dtype floating;
  absl::StatusOr<v1::Evaluation> evaluation =
      Build(options, descriptor, source, floating);
  if (!evaluation.ok()) return evaluation.status();
  *request.mutable_evaluation() = *std::move(evaluation);
  for (absl::string_view name :
       absl::StrSplit(options.wrt, ',', absl::SkipWhitespace())) {
    request.add_wrt(std::string(absl::StripAsciiWhitespace(name)));
  }
  if (!options.gradient_dtype.empty()) {
    const auto dtype =
        ParseEnum(*v1::Dtype_descriptor(), options.gradient_dtype);
    if (!dtype.ok()) return WithFlag(dtype.status(), "gradient-dtype");
    request.set_gradient_dtype(static_cast<v1::Dtype>(*dtype));
  }
  if (!options.grad_output.empty()) {
    absl::StatusOr<Array> array = source.Read(options.grad_output);
    if (!array.ok()) return WithFlag(array.status(), "grad-output");
    absl::StatusOr<v1::Tensor> tensor = ToTensor(*array, floating);
    if (!tensor.ok()) return WithFlag(tensor.status(), "grad-output");
    *request.mutable_grad_output() = *std::move(tensor);
  }
  return request;
}

const Message& LossMessage(const v1::Evaluation& evaluation) {
  const auto& reflection = *evaluation.GetReflection();
  return reflection.GetMessage(
      evaluation,
      reflection.GetOneofFieldDescriptor(
          evaluation, v1::Evaluation::descriptor()->FindOneofByName("loss")));
}

}  // namespace lossd::cli
