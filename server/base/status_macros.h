// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_BASE_STATUS_MACROS_H_
#define LOSSD_SERVER_BASE_STATUS_MACROS_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns from the enclosing function if `expr`, an absl::Status, is an error.
#define LOSSD_RETURN_IF_ERROR(expr)                             \
  do {                                                          \
    if (absl::Status lossd_status = (expr); !lossd_status.ok()) \
      return lossd_status;                                      \
  } while (false)

#define LOSSD_CONCAT_INNER(a, b) a##b
#define LOSSD_CONCAT(a, b) LOSSD_CONCAT_INNER(a, b)

// Declares or assigns `lhs` from `expr`, an absl::StatusOr, or returns its
// error from the enclosing function.
#define LOSSD_ASSIGN_OR_RETURN(lhs, expr) \
  LOSSD_ASSIGN_OR_RETURN_INNER(LOSSD_CONCAT(lossd_or_, __LINE__), lhs, expr)
#define LOSSD_ASSIGN_OR_RETURN_INNER(name, lhs, expr) \
  auto name = (expr);                                 \
  if (!name.ok()) return name.status();               \
  lhs = *std::move(name)

#endif  // LOSSD_SERVER_BASE_STATUS_MACROS_H_
