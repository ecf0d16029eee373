// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/call_setup.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace lossd {

absl::Status CheckSize(size_t actual, int64_t limit) {
  if (actual <= static_cast<size_t>(std::max<int64_t>(limit, 0))) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(absl::StrCat(
      "the request has ", actual,
      " bytes when encoded, but this client sends "
      "at most ",
      limit,
      ": raise ClientOptions::max_message_bytes and the "
      "server's max_message_bytes, or split the evaluation along its first "
      "dimension and merge mean_numerator and mean_denominator"));
}

void SetDeadline(grpc::ClientContext& context, const CallOptions& options,
                 absl::Duration default_timeout) {
  const absl::Duration timeout = options.timeout.value_or(default_timeout);
  const absl::Time deadline = std::min(options.deadline, absl::Now() + timeout);
  if (deadline != absl::InfiniteFuture()) {
    context.set_deadline(absl::ToChronoTime(deadline));
  }
}

}  // namespace lossd
