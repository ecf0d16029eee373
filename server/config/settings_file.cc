// SPDX-License-Identifier: Apache-2.0

#include "server/config/settings_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "server/config/nearest_name.h"

namespace lossd {
namespace {

constexpr size_t kMaxFileBytes = size_t{1} << 20;

absl::Status Malformed(absl::string_view what) {
  return absl::InvalidArgumentError(what);
}

bool IsEndOfLine(absl::string_view rest) {
  rest = absl::StripLeadingAsciiWhitespace(rest);
  return rest.empty() || rest.front() == '#';
}

// The text of a value that begins with a quote.
absl::StatusOr<std::string> Unquote(absl::string_view value) {
  const char quote = value.front();
  std::string text;
  for (size_t i = 1; i < value.size(); ++i) {
    if (value[i] == quote) {
      if (IsEndOfLine(value.substr(i + 1))) return text;
      return Malformed("something follows the closing quote");
    }
    if (quote == '"' && value[i] == '\\') {
      if (++i == value.size() || (value[i] != '"' && value[i] != '\\')) {
        return Malformed("a backslash stands before neither \" nor \\");
      }
    }
    text.push_back(value[i]);
  }
  return Malformed("the closing quote is missing");
}

absl::StatusOr<std::string> ParseValue(absl::string_view value) {
  if (value.empty()) return Malformed("the value is missing");
  if (value.front() == '"' || value.front() == '\'') return Unquote(value);
  value = value.substr(0, value.find('#'));
  value = absl::StripTrailingAsciiWhitespace(value);
  if (value.empty()) return Malformed("the value is missing");
  return std::string(value);
}

std::vector<std::string> KnownNames(absl::Span<const OptionRow> rows) {
  std::vector<std::string> names;
  for (const OptionRow& row : rows) {
    if (row.in_file) names.push_back(row.name);
  }
  return names;
}

absl::Status CheckName(absl::string_view name,
                       absl::Span<const OptionRow> rows) {
  const std::vector<std::string> names = KnownNames(rows);
  if (std::find(names.begin(), names.end(), name) != names.end()) {
    return absl::OkStatus();
  }
  for (const OptionRow& row : rows) {
    if (row.name == name) {
      return Malformed(absl::StrCat(name, " cannot be set in a file"));
    }
  }
  return Malformed(
      absl::StrCat("there is no setting ", name, DidYouMean(name, names)));
}

absl::Status ParseLine(absl::string_view line, const std::string& origin,
                       absl::Span<const OptionRow> rows, Given& given) {
  if (line.front() == '[') return Malformed("there are no sections");
  size_t equals = line.find('=');
  if (equals == line.npos) return Malformed("a line is NAME = VALUE");
  std::string name(absl::StripTrailingAsciiWhitespace(line.substr(0, equals)));
  absl::Status known = CheckName(name, rows);
  if (!known.ok()) return known;
  absl::StatusOr<std::string> value =
      ParseValue(absl::StripLeadingAsciiWhitespace(line.substr(equals + 1)));
  if (!value.ok()) return value.status();
  auto [found, added] =
      given.values.emplace(name, GivenValue{*std::move(value), origin});
  if (added) return absl::OkStatus();
  return Malformed(
      absl::StrCat(name, " is already set at ", found->second.origin));
}

}  // namespace

Given ParseSettingsFile(absl::string_view path, absl::string_view content,
                        absl::Span<const OptionRow> rows) {
  Given given;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(content, '\n')) {
    std::string origin = absl::StrCat(path, ":", ++number);
    line = absl::StripAsciiWhitespace(line);
    if (IsEndOfLine(line)) continue;
    absl::Status parsed = ParseLine(line, origin, rows, given);
    if (!parsed.ok()) {
      given.problems.push_back(absl::StrCat(origin, ": ", parsed.message()));
    }
  }
  return given;
}

absl::StatusOr<std::string> ReadSettingsFile(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string content(kMaxFileBytes + 1, '\0');
  file.read(content.data(), static_cast<std::streamsize>(content.size()));
  // A file that could be read to its end is at its end; a directory is not.
  if (!file.eof() && file.gcount() <= std::streamsize{kMaxFileBytes}) {
    return absl::NotFoundError(absl::StrCat(
        path, ": cannot be read: ", std::strerror(errno != 0 ? errno : EIO)));
  }
  content.resize(static_cast<size_t>(file.gcount()));
  if (content.size() > kMaxFileBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": is longer than 1 MiB"));
  }
  return content;
}

std::string QuoteSetting(absl::string_view text) {
  bool bare = text == "true" || text == "false" ||
              (!text.empty() &&
               std::all_of(text.begin(), text.end(), absl::ascii_isdigit));
  if (bare) return std::string(text);
  return absl::StrCat(
      "\"", absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"\"", "\\\""}}), "\"");
}

}  // namespace lossd
