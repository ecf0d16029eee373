// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_CLI_NUMBER_H_
#define LOSSD_CLIENT_CLI_NUMBER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lossd/v1/tensor.pb.h"

namespace lossd::cli {

// The shortest decimal that reads back as the same number of its own type; NaN,
// Infinity and -Infinity by these names.
std::string FormatNumber(float value);
std::string FormatNumber(double value);

// Four decimals, or four significant digits in scientific notation where those
// would show nothing: for people.
std::string FormatBrief(double value);

// Each element of a tensor that holds `data`, in row-major order: a float32 or
// narrower as a float, a float64 as a double, integers in full.
absl::StatusOr<std::vector<std::string>> FormatElements(
    const v1::Tensor& tensor);

// Reads a decimal number, or NaN, Infinity, Inf in any case, signed or not;
// nothing if `text` is anything else. Beyond the range of double it is
// infinite.
std::optional<double> ParseDouble(absl::string_view text);

// Reads a decimal integer; nothing if `text` is anything else, or out of range.
std::optional<int64_t> ParseInteger(absl::string_view text);

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_NUMBER_H_
