// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_CLI_SOURCE_H_
#define LOSSD_CLIENT_CLI_SOURCE_H_

#include <istream>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cli/array.h"

namespace lossd::cli {

// Reads tensors from where a command line says: standard input can be read
// once.
class Source {
 public:
  // Does not take ownership; `input` stands for standard input.
  explicit Source(std::istream& input) : input_(input) {}

  // The numbers that `value` stands for: inline JSON ("[[1, 2], [3, 4]]",
  // "0.5"), a file ("@logits.npy"; the "@" may be left out where the name ends
  // in .npy, .csv or .json), or "-" for standard input. A file's content is npy
  // if it begins so, JSON if its first character is a bracket or its name ends
  // in .json, else CSV.
  //
  // INVALID_ARGUMENT for content that cannot be read as numbers, NOT_FOUND for
  // a file that cannot be opened.
  absl::StatusOr<Array> Read(const std::string& value);

 private:
  std::istream& input_;
  bool input_was_read_ = false;
};

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_SOURCE_H_
