// SPDX-License-Identifier: Apache-2.0
#include "client/cli/json.h"

#include <google/protobuf/duration.pb.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/number.h"
#include "client/cli/schema.h"
#include "lossd/error.h"
#include "lossd/tensor.h"

namespace lossd::cli {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Infinity and NaN are the only numbers that FormatNumber writes with an `N` or
// `I` in them.
std::string JsonNumber(absl::string_view number) {
  return number.find_first_of("NI") == number.npos ? std::string(number)
                                                   : JsonString(number);
}

// The members of an object.
class Object {
 public:
  void Add(absl::string_view name, absl::string_view value) {
    members_.push_back(absl::StrCat(JsonString(name), ": ", value));
  }
  absl::Status AddTensor(absl::string_view name, const v1::Tensor& tensor) {
    absl::StatusOr<std::string> value = JsonTensor(tensor);
    if (value.ok()) Add(name, *value);
    return value.status();
  }
  std::string ToString() const {
    return absl::StrCat("{", absl::StrJoin(members_, ", "), "}");
  }

 private:
  std::vector<std::string> members_;
};

void AppendNested(const std::vector<std::string>& elements,
                  absl::Span<const int64_t> shape, size_t& next,
                  std::string& text) {
  if (shape.empty()) {
    text += JsonNumber(elements[next++]);
    return;
  }
  text += '[';
  for (int64_t i = 0; i < shape[0]; ++i) {
    if (i > 0) text += ", ";
    AppendNested(elements, shape.subspan(1), next, text);
  }
  text += ']';
}

// One value of a field, at `index` where the field is repeated.
absl::StatusOr<std::string> JsonField(const Message& message,
                                      const FieldDescriptor& field, int index) {
  const auto& reflection = *message.GetReflection();
  const auto get = [&](auto single, auto repeated) {
    return field.is_repeated() ? (reflection.*repeated)(message, &field, index)
                               : (reflection.*single)(message, &field);
  };
  using R = google::protobuf::Reflection;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return JsonNumber(
          FormatNumber(get(&R::GetDouble, &R::GetRepeatedDouble)));
    case FieldDescriptor::CPPTYPE_INT32:
      return absl::StrCat(get(&R::GetInt32, &R::GetRepeatedInt32));
    case FieldDescriptor::CPPTYPE_INT64:
      return absl::StrCat(get(&R::GetInt64, &R::GetRepeatedInt64));
    case FieldDescriptor::CPPTYPE_BOOL:
      return get(&R::GetBool, &R::GetRepeatedBool) ? "true" : "false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return JsonString(ShortName(*get(&R::GetEnum, &R::GetRepeatedEnum)));
    case FieldDescriptor::CPPTYPE_STRING:
      return JsonString(get(&R::GetString, &R::GetRepeatedString));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return JsonMessage(
          field.is_repeated()
              ? reflection.GetRepeatedMessage(message, &field, index)
              : reflection.GetMessage(message, &field));
    default:
      return absl::UnimplementedError(
          absl::StrCat(field.full_name(), " cannot be written as JSON"));
  }
}

}  // namespace

std::string JsonString(absl::string_view text) {
  return nlohmann::json(std::string(text))
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

absl::StatusOr<std::string> JsonTensor(const v1::Tensor& tensor) {
  absl::StatusOr<std::vector<std::string>> elements = FormatElements(tensor);
  if (!elements.ok()) return elements.status();
  std::string text;
  size_t next = 0;
  AppendNested(*elements, tensor.shape(), next, text);
  return text;
}

absl::StatusOr<std::string> JsonMessage(const Message& message) {
  if (const auto* tensor = dynamic_cast<const v1::Tensor*>(&message)) {
    return JsonTensor(*tensor);
  }
  if (const auto* duration =
          dynamic_cast<const google::protobuf::Duration*>(&message)) {
    return FormatNumber(duration->seconds() + duration->nanos() * 1e-9);
  }
  Object object;
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    const int count = field->is_repeated()
                          ? message.GetReflection()->FieldSize(message, field)
                          : 1;
    std::vector<std::string> values;
    for (int i = 0; i < count; ++i) {
      absl::StatusOr<std::string> value = JsonField(message, *field, i);
      if (!value.ok()) return value.status();
      values.push_back(*std::move(value));
    }
    object.Add(field->name(),
               field->is_repeated()
                   ? absl::StrCat("[", absl::StrJoin(values, ", "), "]")
                   : values[0]);
  }
  return object.ToString();
}

absl::StatusOr<std::string> JsonResult(const v1::Result& result,
                                       const v1::Execution& execution) {
  Object object;
  absl::Status status = absl::OkStatus();
  if (result.has_loss_tensor()) {
    status.Update(object.AddTensor("loss", result.loss_tensor()));
  } else if (result.has_loss()) {
    object.Add("loss", JsonNumber(FormatNumber(result.loss())));
  }
  if (result.gradients_size() > 0) {
    Object gradients;
    for (const v1::Gradient& gradient : result.gradients()) {
      status.Update(gradients.AddTensor(gradient.wrt(), gradient.value()));
    }
    object.Add("gradients", gradients.ToString());
  }
  if (result.metrics_size() > 0) {
    Object metrics;
    for (const v1::Metric& metric : result.metrics()) {
      Object fraction;
      fraction.Add("numerator", JsonNumber(FormatNumber(metric.numerator())));
      fraction.Add("denominator",
                   JsonNumber(FormatNumber(metric.denominator())));
      metrics.Add(metric.name(), fraction.ToString());
    }
    object.Add("metrics", metrics.ToString());
  }
  // Everything else in a result is written as it is named.
  std::vector<const FieldDescriptor*> fields;
  result.GetReflection()->ListFields(result, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->number() == v1::Result::kLossFieldNumber ||
        field->number() == v1::Result::kLossTensorFieldNumber ||
        field->number() == v1::Result::kGradientsFieldNumber ||
        field->number() == v1::Result::kMetricsFieldNumber) {
      continue;
    }
    absl::StatusOr<std::string> value = JsonField(result, *field, 0);
    status.Update(value.status());
    if (value.ok()) object.Add(field->name(), *value);
  }
  absl::StatusOr<std::string> how = JsonMessage(execution);
  status.Update(how.status());
  if (!status.ok()) return status;
  object.Add("execution", *how);
  return object.ToString();
}

std::string JsonError(const absl::Status& status) {
  const ErrorDetails details = GetErrorDetails(status);
  Object error;
  error.Add("code", JsonString(absl::StatusCodeToString(status.code())));
  error.Add("reason",
            details.reason.empty() ? "null" : JsonString(details.reason));
  error.Add("message", JsonString(status.message()));
  std::vector<std::string> violations;
  for (const Violation& violation : details.violations) {
    Object object;
    object.Add("field", JsonString(violation.field));
    object.Add("description", JsonString(violation.description));
    violations.push_back(object.ToString());
  }
  error.Add("violations",
            absl::StrCat("[", absl::StrJoin(violations, ", "), "]"));
  if (!details.metadata.empty()) {
    Object metadata;
    for (const auto& [key, value] : details.metadata) {
      metadata.Add(key, JsonString(value));
    }
    error.Add("metadata", metadata.ToString());
  }
  if (details.retry_delay.has_value()) {
    error.Add("retry_delay",
              FormatNumber(absl::ToDoubleSeconds(*details.retry_delay)));
  }
  Object root;
  root.Add("error", error.ToString());
  return root.ToString();
}

}  // namespace lossd::cli
