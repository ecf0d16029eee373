// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_CLI_TEXT_H_
#define LOSSD_CLIENT_CLI_TEXT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "lossd/v1/loss_service.pb.h"

// Answers for people.

namespace lossd::cli {

// Rows of text in columns of equal width. Without trailing spaces.
class Table {
 public:
  enum class Align { kLeft, kRight };

  void AddColumn(std::string header, Align align = Align::kLeft);
  // As many cells as there are columns.
  void AddRow(std::vector<std::string> cells);
  std::string ToString() const;

 private:
  std::vector<Align> aligns_;
  std::vector<std::vector<std::string>> rows_ = {{}};
};

// Row-major texts of a tensor's elements as nested lists with aligned columns,
// as numpy prints them. Of more than 1000 elements the middle of each dimension
// longer than 6 is left out, unless `full`.
std::string FormatNested(absl::Span<const std::string> elements,
                         absl::Span<const int64_t> shape, bool full);

// "float32 [2, 3]"; "float32 scalar".
std::string FormatType(const v1::Tensor& tensor);

// Everything in a result, with the loss's name and reduction in front.
absl::StatusOr<std::string> FormatResult(absl::string_view title,
                                         const v1::Result& result, bool full);

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_TEXT_H_
