// SPDX-License-Identifier: Apache-2.0
#include "lossd/error.h"

#include <google/protobuf/any.pb.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/unknown_field_set.h>
#include <grpcpp/support/status.h>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"

// google.rpc.Status and its details are read field by field: generated code for
// them in this library would meet the copy that a program may already have
// (from libgrpc++_error_details or googleapis), and protobuf ends a program
// that registers one message twice.

namespace lossd {
namespace {

using google::protobuf::UnknownField;
using google::protobuf::UnknownFieldSet;

constexpr absl::string_view kPayloadUrl =
    "type.googleapis.com/google.rpc.Status";

// Calls `visit` with the bytes of each occurrence of field `number`, which is a
// string or a message. Of bytes that are no message it visits nothing.
template <typename Visitor>
void ForEach(const std::string& bytes, int number, Visitor visit) {
  UnknownFieldSet fields;
  if (!fields.ParseFromString(bytes)) return;
  for (int i = 0; i < fields.field_count(); ++i) {
    const UnknownField& field = fields.field(i);
    if (field.number() == number &&
        field.type() == UnknownField::TYPE_LENGTH_DELIMITED) {
      visit(field.length_delimited());
    }
  }
}

std::string StringField(const std::string& bytes, int number) {
  std::string value;
  ForEach(bytes, number, [&](const std::string& found) { value = found; });
  return value;
}

// google.rpc.ErrorInfo { reason = 1; domain = 2; map metadata = 3; }
void ReadErrorInfo(const std::string& bytes, ErrorDetails& details) {
  details.reason = StringField(bytes, 1);
  details.domain = StringField(bytes, 2);
  ForEach(bytes, 3, [&](const std::string& entry) {
    details.metadata[StringField(entry, 1)] = StringField(entry, 2);
  });
}

// google.rpc.BadRequest {
//   repeated FieldViolation { field = 1; description = 2; } = 1; }
void ReadBadRequest(const std::string& bytes, ErrorDetails& details) {
  ForEach(bytes, 1, [&](const std::string& violation) {
    details.violations.push_back({.field = StringField(violation, 1),
                                  .description = StringField(violation, 2)});
  });
}

// google.rpc.RetryInfo { google.protobuf.Duration retry_delay = 1; }
void ReadRetryInfo(const std::string& bytes, ErrorDetails& details) {
  ForEach(bytes, 1, [&](const std::string& encoded) {
    google::protobuf::Duration delay;
    if (!delay.ParseFromString(encoded)) return;
    details.retry_delay =
        absl::Seconds(delay.seconds()) + absl::Nanoseconds(delay.nanos());
  });
}

}  // namespace

ErrorDetails GetErrorDetails(const absl::Status& status) {
  ErrorDetails details;
  const absl::optional<absl::Cord> payload = status.GetPayload(kPayloadUrl);
  if (!payload.has_value()) return details;
  // google.rpc.Status { code = 1; message = 2; repeated Any details = 3; }
  ForEach(std::string(*payload), 3, [&](const std::string& encoded) {
    google::protobuf::Any any;
    if (!any.ParseFromString(encoded)) return;
    if (absl::EndsWith(any.type_url(), "/google.rpc.ErrorInfo")) {
      ReadErrorInfo(any.value(), details);
    } else if (absl::EndsWith(any.type_url(), "/google.rpc.BadRequest")) {
      ReadBadRequest(any.value(), details);
    } else if (absl::EndsWith(any.type_url(), "/google.rpc.RetryInfo")) {
      ReadRetryInfo(any.value(), details);
    }
  });
  return details;
}

absl::Status ToAbslStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status result(static_cast<absl::StatusCode>(status.error_code()),
                      status.error_message());
  if (!status.error_details().empty()) {
    result.SetPayload(kPayloadUrl, absl::Cord(status.error_details()));
  }
  return result;
}

}  // namespace lossd
