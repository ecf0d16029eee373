// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_CLI_CSV_H_
#define LOSSD_CLIENT_CLI_CSV_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cli/array.h"

namespace lossd::cli {

// Reads rows of numbers separated by commas, as numpy.loadtxt does: blank
// lines and what follows a `#` are skipped; one row, or one column, is a vector
// ([1, C] needs JSON or npy). kInteger if no number has a point or an exponent.
//
// INVALID_ARGUMENT, naming line and column, if a cell is not a number (there is
// no header line), or the rows differ in length.
absl::StatusOr<Array> ParseCsv(absl::string_view text);

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_CSV_H_
