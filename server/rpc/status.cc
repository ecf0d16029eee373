// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/status.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "lossd/v1/error_reason.pb.h"

namespace lossd {
namespace {

constexpr char kDomain[] = "lossd.dev";
constexpr size_t kMaxMessageBytes = 600;
constexpr size_t kMaxFieldBytes = 128;
// How long descriptions can be; the first that makes all fit is taken.
constexpr size_t kDescriptionBytes[] = {1024, 512, 256, 128};

// Cuts at a character of UTF-8 and marks the cut.
std::string Shorten(absl::string_view text, size_t most) {
  if (text.size() <= most) return std::string(text);
  constexpr absl::string_view kMark = "...";
  size_t end = most - kMark.size();
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) {
    --end;
  }
  return absl::StrCat(text.substr(0, end), kMark);
}

// Bytes of the trailer grpc-message, which is percent-encoded.
size_t MessageTrailerBytes(absl::string_view message) {
  size_t bytes = 0;
  for (char c : message) bytes += c >= ' ' && c <= '~' && c != '%' ? 1 : 3;
  return bytes;
}

// Bytes of the trailer grpc-status-details-bin, which is base64.
size_t DetailsTrailerBytes(const std::string& details) {
  return (details.size() + 2) / 3 * 4;
}

std::string ShortMessage(const std::string& message) {
  size_t most = kMaxMessageBytes;
  std::string shortened = Shorten(message, most);
  while (MessageTrailerBytes(shortened) > kMaxMessageBytes) {
    most = most * 2 / 3;
    shortened = Shorten(message, most);
  }
  return shortened;
}

google::rpc::ErrorInfo MakeErrorInfo(Reason reason,
                                     const ErrorContext& context) {
  google::rpc::ErrorInfo info;
  info.set_reason(std::string(ReasonName(reason)));
  info.set_domain(kDomain);
  auto& metadata = *info.mutable_metadata();
  if (!context.loss.empty()) metadata["loss"] = std::string(context.loss);
  metadata["version"] = std::string(context.version);
  return info;
}

google::rpc::BadRequest MakeBadRequest(const Violations& violations,
                                       size_t count, size_t description_bytes) {
  google::rpc::BadRequest bad_request;
  for (size_t i = 0; i < count; ++i) {
    const Violation& violation = violations.kept()[i];
    auto* wire = bad_request.add_field_violations();
    wire->set_field(Shorten(violation.field, kMaxFieldBytes));
    wire->set_description(
        Shorten(absl::StrCat("[", ReasonName(violation.reason), "] ",
                             violation.description),
                description_bytes));
  }
  return bad_request;
}

google::rpc::Status MakeStatus(grpc::StatusCode code,
                               const std::string& message,
                               const google::rpc::ErrorInfo& info) {
  google::rpc::Status status;
  status.set_code(code);
  status.set_message(message);
  status.add_details()->PackFrom(info);
  return status;
}

grpc::StatusCode CodeOf(Reason reason) {
  switch (reason) {
    case Reason::kUnknownField:
    case Reason::kDeviceUnavailable:
    case Reason::kSharedMemoryUnavailable:
      return grpc::StatusCode::FAILED_PRECONDITION;
    case Reason::kQueueFull:
    case Reason::kDeadlineUnreachable:
    case Reason::kDeviceMemory:
      return grpc::StatusCode::RESOURCE_EXHAUSTED;
    case Reason::kDraining:
    case Reason::kDeviceFailed:
      return grpc::StatusCode::UNAVAILABLE;
    case Reason::kDeadlineExceeded:
      return grpc::StatusCode::DEADLINE_EXCEEDED;
    case Reason::kCancelled:
      return grpc::StatusCode::CANCELLED;
    case Reason::kInternal:
      return grpc::StatusCode::INTERNAL;
    default:
      return grpc::StatusCode::INVALID_ARGUMENT;
  }
}

}  // namespace

absl::string_view ReasonName(Reason reason) {
  return absl::StripPrefix(
      v1::ErrorReason_Name(static_cast<v1::ErrorReason>(reason)),
      "ERROR_REASON_");
}

grpc::Status ViolationsStatus(const Violations& violations,
                              const ErrorContext& context) {
  const Violation& first = violations.kept().front();
  const grpc::StatusCode code = CodeOf(first.reason);
  std::string message = ShortMessage(first.description);
  google::rpc::ErrorInfo info = MakeErrorInfo(first.reason, context);
  for (const auto& [key, value] : violations.metadata()) {
    (*info.mutable_metadata())[key] = Shorten(value, kMaxFieldBytes);
  }
  if (violations.count() > 1) {
    absl::StrAppend(&message, " (and ", violations.count() - 1, " more)");
    (*info.mutable_metadata())["violations"] = absl::StrCat(violations.count());
  }
  const size_t budget = kMaxTrailerBytes - MessageTrailerBytes(message);

  size_t count = violations.kept().size();
  std::string details;
  for (size_t attempt = 0; count > 0; ++attempt) {
    const size_t last = std::size(kDescriptionBytes) - 1;
    // With the shortest descriptions still too much: one fewer.
    if (attempt > last) --count;
    google::rpc::Status status = MakeStatus(code, message, info);
    status.add_details()->PackFrom(MakeBadRequest(
        violations, count, kDescriptionBytes[std::min(attempt, last)]));
    details = status.SerializeAsString();
    if (DetailsTrailerBytes(details) <= budget) break;
  }
  return grpc::Status(code, message, details);
}

grpc::Status ReasonStatus(grpc::StatusCode code, Reason reason,
                          absl::string_view message, absl::Duration retry_after,
                          const ErrorContext& context) {
  const std::string text = ShortMessage(std::string(message));
  google::rpc::Status status =
      MakeStatus(code, text, MakeErrorInfo(reason, context));
  if (retry_after > absl::ZeroDuration()) {
    google::rpc::RetryInfo retry;
    absl::Duration rest;
    retry.mutable_retry_delay()->set_seconds(
        absl::IDivDuration(retry_after, absl::Seconds(1), &rest));
    retry.mutable_retry_delay()->set_nanos(
        static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
    status.add_details()->PackFrom(retry);
  }
  return grpc::Status(code, text, status.SerializeAsString());
}

}  // namespace lossd
