// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_CLI_JSON_ARRAY_H_
#define LOSSD_CLIENT_CLI_JSON_ARRAY_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cli/array.h"

namespace lossd::cli {

// Reads a number or nested lists of numbers, such as `[[0.5, -1.5], [2, 0]]`;
// the nesting is the shape. "NaN", "Infinity" and "-Infinity" are numbers, as
// are `true` and `false`. The kind is kInteger if every number is written
// without point and exponent, kBool if all are `true` or `false`.
//
// INVALID_ARGUMENT, saying where, if it is anything else, is ragged, or is
// nested more than 32 deep.
absl::StatusOr<Array> ParseJsonArray(absl::string_view text);

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_JSON_ARRAY_H_
