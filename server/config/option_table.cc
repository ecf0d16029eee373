// SPDX-License-Identifier: Apache-2.0

#include "server/config/option_table.h"

#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/config/option_groups.h"

namespace lossd {
namespace {

constexpr size_t kMaxEcho = 100;

void Append(std::vector<OptionRow> group, std::vector<OptionRow>& table) {
  std::move(group.begin(), group.end(), std::back_inserter(table));
}

}  // namespace

std::vector<OptionRow> OptionTable() {
  std::vector<OptionRow> table;
  Append(ListeningOptions(), table);
  Append(ComputingOptions(), table);
  Append(GpuOptions(), table);
  Append(SharedMemoryOptions(), table);
  Append(LoggingOptions(), table);
  Append(DrainingOptions(), table);
  Append(LimitOptions(), table);
  Append(QueueOptions(), table);
  Append(BatchingOptions(), table);
  const Settings defaults;
  for (OptionRow& row : table) {
    if (row.default_text.empty()) row.default_text = row.print(defaults);
  }
  return table;
}

std::string EnvironmentName(absl::string_view option) {
  return absl::StrCat("LOSSD_", absl::AsciiStrToUpper(
                                    absl::StrReplaceAll(option, {{"-", "_"}})));
}

std::string DescribeGiven(const OptionRow& row, const GivenValue& given) {
  std::string echo = absl::CHexEscape(given.text.substr(0, kMaxEcho));
  if (given.text.size() > kMaxEcho) absl::StrAppend(&echo, "...");
  bool named = given.origin == EnvironmentName(row.name) ||
               given.origin == row.environment_alias ||
               given.origin == absl::StrCat("--", row.name);
  return absl::StrCat(given.origin, ": ", named ? "" : row.name,
                      named ? "" : " = ", "\"", echo, "\"");
}

}  // namespace lossd
