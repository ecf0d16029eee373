// SPDX-License-Identifier: Apache-2.0

#include "server/config/environment.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/config/nearest_name.h"

namespace lossd {
namespace {

constexpr absl::string_view kPrefix = "LOSSD_";

bool IsNumber(absl::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
}

const OptionRow* FindRow(absl::string_view variable,
                         absl::Span<const OptionRow> rows) {
  for (const OptionRow& row : rows) {
    if (variable == EnvironmentName(row.name) ||
        variable == row.environment_alias) {
      return &row;
    }
  }
  return nullptr;
}

std::vector<std::string> KnownNames(absl::Span<const OptionRow> rows) {
  std::vector<std::string> names;
  for (const OptionRow& row : rows) names.push_back(EnvironmentName(row.name));
  return names;
}

// A second variable for the same option is the other one's alias.
void Add(const OptionRow& row, GivenValue value, Given& given) {
  auto [found, added] = given.values.emplace(row.name, value);
  if (added || found->second.text == value.text) return;
  given.problems.push_back(absl::StrCat(value.origin, " and ",
                                        found->second.origin,
                                        " mean the same and differ: set one"));
}

}  // namespace

bool IsServiceLink(absl::string_view name, absl::string_view value) {
  if (absl::EndsWith(name, "_SERVICE_HOST") ||
      absl::StrContains(name, "_SERVICE_PORT")) {
    return true;
  }
  if (absl::EndsWith(name, "_PORT") && absl::StrContains(value, "://")) {
    return true;
  }
  std::vector<absl::string_view> words = absl::StrSplit(name, '_');
  for (size_t i = 0; i + 2 < words.size(); ++i) {
    bool protocol = words[i + 2] == "TCP" || words[i + 2] == "UDP" ||
                    words[i + 2] == "SCTP";
    if (words[i] == "PORT" && IsNumber(words[i + 1]) && protocol) return true;
  }
  return false;
}

Given ReadEnvironment(const char* const* environment,
                      absl::Span<const OptionRow> rows) {
  Given given;
  for (; environment != nullptr && *environment != nullptr; ++environment) {
    absl::string_view entry = *environment;
    size_t equals = entry.find('=');
    if (!absl::StartsWith(entry, kPrefix) || equals == entry.npos) continue;
    std::string name(entry.substr(0, equals));
    absl::string_view value = entry.substr(equals + 1);
    if (const OptionRow* row = FindRow(name, rows)) {
      Add(*row, {std::string(value), name}, given);
    } else if (!IsServiceLink(name, value)) {
      given.problems.push_back(
          absl::StrCat(name, ": there is no such environment variable",
                       DidYouMean(name, KnownNames(rows))));
    }
  }
  return given;
}

}  // namespace lossd
