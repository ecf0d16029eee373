// SPDX-License-Identifier: Apache-2.0
#include "client/cli/source.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/cli/csv.h"
#include "client/cli/json_array.h"
#include "client/cli/npy.h"

namespace lossd::cli {
namespace {

std::string ReadAll(std::istream& stream) {
  return std::string(std::istreambuf_iterator<char>(stream),
                     std::istreambuf_iterator<char>());
}

absl::StatusOr<Array> ParseContent(const std::string& content,
                                   absl::string_view name) {
  if (IsNpy(content)) return ParseNpy(content);
  if (absl::EndsWith(name, ".npy")) {
    return absl::InvalidArgumentError("not an npy file");
  }
  const absl::string_view text = absl::StripLeadingAsciiWhitespace(content);
  if (absl::EndsWith(name, ".json") || absl::StartsWith(text, "[")) {
    return ParseJsonArray(text);
  }
  return ParseCsv(content);
}

absl::StatusOr<Array> WithName(absl::StatusOr<Array> array,
                               absl::string_view name) {
  if (array.ok()) return array;
  return absl::Status(array.status().code(),
                      absl::StrCat(name, ": ", array.status().message()));
}

}  // namespace

absl::StatusOr<Array> Source::Read(const std::string& value) {
  if (value == "-") {
    if (input_was_read_) {
      return absl::InvalidArgumentError(
          "standard input (-) can be read only once");
    }
    input_was_read_ = true;
    return WithName(ParseContent(ReadAll(input_), ""), "standard input");
  }
  absl::string_view name = value;
  if (!absl::ConsumePrefix(&name, "@") && !absl::EndsWith(name, ".npy") &&
      !absl::EndsWith(name, ".csv") && !absl::EndsWith(name, ".json")) {
    return ParseJsonArray(value);
  }
  std::ifstream file{std::string(name), std::ios::binary};
  if (!file) {
    return absl::NotFoundError(
        absl::StrCat("cannot open ", name, ": ", std::strerror(errno)));
  }
  std::string content = ReadAll(file);
  if (file.bad()) {
    return absl::NotFoundError(absl::StrCat("cannot read ", name));
  }
  return WithName(ParseContent(content, name), name);
}

}  // namespace lossd::cli
