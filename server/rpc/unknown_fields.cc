// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/unknown_fields.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/unknown_field_set.h"
#include "lossd/v1/loss_service.pb.h"

namespace lossd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Value;

class Finder {
 public:
  Finder(absl::string_view version, Violations* violations)
      : version_(version), violations_(violations) {}

  void Visit(const Message& message, const std::string& path) {
    if (message.GetDescriptor() == v1::CallHints::descriptor() || Enough()) {
      return;
    }
    if (message.GetDescriptor() == Value::descriptor()) {
      VisitValue(static_cast<const Value&>(message), path);
      return;
    }
    const auto& reflection = *message.GetReflection();
    ReportIn(message, path);
    std::vector<const FieldDescriptor*> fields;
    reflection.ListFields(message, &fields);
    for (const FieldDescriptor* field : fields) {
      if (field->message_type() == nullptr) continue;
      const std::string child =
          absl::StrCat(path, path.empty() ? "" : ".", field->name());
      if (!field->is_repeated()) {
        Visit(reflection.GetMessage(message, field), child);
        continue;
      }
      for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
        Visit(reflection.GetRepeatedMessage(message, field, i), child);
      }
    }
  }

 private:
  bool Enough() const { return violations_->count() >= Violations::kKept; }

  // Tensors written as numbers have one of these for each number, so they are
  // walked without reflection.
  void VisitValue(const Value& value, const std::string& path) {
    ReportIn(value, path);
    if (!value.has_list_value()) return;
    ReportIn(value.list_value(), path);
    for (const Value& element : value.list_value().values()) {
      if (Enough()) return;
      VisitValue(element, path);
    }
  }

  void ReportIn(const Message& message, const std::string& path) {
    const auto& fields = message.GetReflection()->GetUnknownFields(message);
    if (!fields.empty()) Report(message, fields, path);
  }

  void Report(const Message& message,
              const google::protobuf::UnknownFieldSet& fields,
              const std::string& path) {
    for (int i = 0; i < fields.field_count() && !Enough(); ++i) {
      violations_->Add(
          Reason::kUnknownField, path,
          absl::StrCat("field number ", fields.field(i).number(), " of ",
                       message.GetDescriptor()->full_name(),
                       " is unknown to this server (lossd ", version_,
                       "): it may come from a newer client."));
    }
  }

  const absl::string_view version_;
  Violations* const violations_;
};

}  // namespace

void FindUnknownFields(const Message& request, absl::string_view version,
                       Violations* violations) {
  Finder(version, violations).Visit(request, "");
}

}  // namespace lossd
