// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_CPP_CALL_SETUP_H_
#define LOSSD_CLIENT_CPP_CALL_SETUP_H_

#include <grpcpp/client_context.h>

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "lossd/client.h"

namespace lossd {

// RESOURCE_EXHAUSTED if a request of `actual` bytes is over the client's limit.
absl::Status CheckSize(size_t actual, int64_t limit);

// Sets the earlier of the options' deadline and of their timeout, or of
// `default_timeout` where they have none, from now on.
void SetDeadline(grpc::ClientContext& context, const CallOptions& options,
                 absl::Duration default_timeout);

inline bool HasHints(const CallOptions& options) {
  return !options.request_id.empty() ||
         options.priority != v1::PRIORITY_UNSPECIFIED;
}

// Puts what a call's options say into its request, if it can have hints.
template <typename Request>
void SetHints(Request& request, const CallOptions& options) {
  if constexpr (requires { request.mutable_evaluation(); }) {
    if (!HasHints(options)) return;
    v1::CallHints& hints = *request.mutable_evaluation()->mutable_hints();
    if (!options.request_id.empty()) hints.set_request_id(options.request_id);
    if (options.priority != v1::PRIORITY_UNSPECIFIED) {
      hints.set_priority(options.priority);
    }
  }
}

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_CALL_SETUP_H_
