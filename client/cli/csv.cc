// SPDX-License-Identifier: Apache-2.0
#include "client/cli/csv.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/number.h"

namespace lossd::cli {

absl::StatusOr<Array> ParseCsv(absl::string_view text) {
  Array array;
  bool floating = false;
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t line_number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++line_number;
    line = absl::StripAsciiWhitespace(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    int64_t column = 0;
    for (absl::string_view cell : absl::StrSplit(line, ',')) {
      ++column;
      cell = absl::StripAsciiWhitespace(cell);
      const std::optional<int64_t> integer = ParseInteger(cell);
      const std::optional<double> number = ParseDouble(cell);
      if (!number.has_value()) {
        return absl::InvalidArgumentError(
            absl::StrCat("line ", line_number, ", column ", column, ": '",
                         cell.substr(0, 40), "' is not a number"));
      }
      floating = floating || !integer.has_value();
      array.integers.push_back(integer.value_or(0));
      array.floats.push_back(*number);
    }
    if (rows++ == 0) columns = column;
    if (column != columns) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", line_number, " has ", column,
                       " numbers, but the lines before it have ", columns));
    }
  }
  if (rows == 0) return absl::InvalidArgumentError("there are no numbers");
  array.kind = floating ? Array::Kind::kFloating : Array::Kind::kInteger;
  (floating ? static_cast<void>(array.integers.clear())
            : static_cast<void>(array.floats.clear()));
  if (rows == 1 || columns == 1) {
    array.shape = {rows * columns};
  } else {
    array.shape = {rows, columns};
  }
  return array;
}

}  // namespace lossd::cli
