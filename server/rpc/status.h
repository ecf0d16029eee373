// SPDX-License-Identifier: Apache-2.0
//
// Errors on their way out: a code, a message, and google.rpc details that
// programs read. Message and details take at most 4 KiB of the answer's
// trailers, as they are encoded there.

#ifndef LOSSD_SERVER_RPC_STATUS_H_
#define LOSSD_SERVER_RPC_STATUS_H_

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "grpcpp/support/status.h"
#include "server/losses/violations.h"

namespace lossd {

// What every error says about itself beside its reason.
struct ErrorContext {
  absl::string_view loss;     // empty if unknown
  absl::string_view version;  // of the server
};

inline constexpr size_t kMaxTrailerBytes = 4096;

// The name of a reason as ErrorInfo has it, such as "TENSOR_MISSING".
absl::string_view ReasonName(Reason reason);

// The error of a request that was found wrong; `violations` is not empty. Code
// and reason are those of the first violation. Where not all violations fit,
// their descriptions are cut and then the last ones left out; the metadata
// `violations` has their number.
grpc::Status ViolationsStatus(const Violations& violations,
                              const ErrorContext& context);

// An error of the server's or the call's state. With a `retry_after` above zero
// it carries a RetryInfo.
grpc::Status ReasonStatus(grpc::StatusCode code, Reason reason,
                          absl::string_view message, absl::Duration retry_after,
                          const ErrorContext& context);

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_STATUS_H_
