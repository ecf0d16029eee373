// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_ERROR_H_
#define LOSSD_ERROR_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace grpc {
class Status;
}  // namespace grpc

namespace lossd {

// One thing that is wrong with a request.
struct Violation {
  // The path of the field, such as "evaluation.cross_entropy.target".
  std::string field;
  // What is wrong with it, and what to do about it.
  std::string description;
};

// What an error says beside its code and message. Empty where the server said
// nothing, as in errors of the transport.
struct ErrorDetails {
  // The name of an ErrorReason without its prefix, such as "SHAPE_MISMATCH".
  std::string reason;
  // Who named the reason: "lossd.dev".
  std::string domain;
  // For example the limit and the actual value.
  std::map<std::string, std::string> metadata;
  // The first 16 violations.
  std::vector<Violation> violations;
  // How long to wait before trying again.
  std::optional<absl::Duration> retry_delay;
};

// The details of an error that a Client returned. Details that cannot be parsed
// are left out. Pure.
ErrorDetails GetErrorDetails(const absl::Status& status);

// The status of a gRPC call as an absl::Status of the same code and message,
// with the details (grpc-status-details-bin) as a payload. For those who call
// the generated stub themselves. Pure.
absl::Status ToAbslStatus(const grpc::Status& status);

}  // namespace lossd

#endif  // LOSSD_ERROR_H_
