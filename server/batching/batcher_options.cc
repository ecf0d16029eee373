// SPDX-License-Identifier: Apache-2.0

#include "server/batching/batcher_options.h"

#include <cmath>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"

namespace lossd {

absl::Status ValidateBatcherOptions(const BatcherOptions& options) {
  std::vector<std::string> wrong;
  const auto at_least_one = [&wrong](absl::string_view name, auto value) {
    // Negated, so that NaN is wrong as well.
    if (!(value >= 1)) {
      wrong.push_back(absl::StrCat(name, " = ", value, " is less than 1"));
    }
  };
  at_least_one("workers", options.workers);
  at_least_one("max_batch_bytes", options.max_batch_bytes);
  at_least_one("max_batch_units", options.max_batch_units);
  at_least_one("max_batch_requests", options.max_batch_requests);
  at_least_one("max_queue_bytes", options.max_queue_bytes);
  at_least_one("max_queue_operations", options.max_queue_operations);
  at_least_one("max_queue_requests", options.max_queue_requests);
  if (std::isnan(options.inline_operations)) {
    wrong.push_back("inline_operations is not a number");
  }
  if (wrong.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(wrong, "; "));
}

}  // namespace lossd
