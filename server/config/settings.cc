// SPDX-License-Identifier: Apache-2.0

#include "server/config/settings.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "server/config/command_line.h"
#include "server/config/environment.h"
#include "server/config/option_table.h"
#include "server/config/settings_check.h"
#include "server/config/settings_file.h"
#include "server/config/usable_cpus.h"

namespace lossd {
namespace {

// "HOST-PID", so that the processes of a machine differ.
std::string DefaultInstance() {
  std::array<char, 101> host{};
  gethostname(host.data(), host.size() - 1);
  std::string name = absl::StrCat(host.data(), "-", getpid());
  std::replace_if(
      name.begin(), name.end(),
      [](unsigned char c) { return !absl::ascii_isgraph(c); }, '_');
  return name;
}

// Replaces the values that stand for others.
void Complete(Settings& settings) {
  if (settings.threads == 0) settings.threads = UsableCpus();
  if (settings.io_threads == 0) {
    settings.io_threads = (settings.threads + 1) / 2;
  }
  if (settings.batching.workers == 0) {
    settings.batching.workers = settings.threads;
  }
  if (settings.limits.max_response_bytes == 0) {
    settings.limits.max_response_bytes = settings.limits.max_message_bytes;
  }
  if (settings.instance.empty()) settings.instance = DefaultInstance();
}

void AddProblems(const std::vector<std::string>& from,
                 std::vector<std::string>& to) {
  to.insert(to.end(), from.begin(), from.end());
}

const GivenValue* Find(const Given& given, absl::string_view name) {
  auto found = given.values.find(name);
  return found == given.values.end() ? nullptr : &found->second;
}

// The file that a flag or else the environment names; nothing if none does.
absl::StatusOr<Given> ReadFile(const Given& flags, const Given& environment,
                               absl::Span<const OptionRow> rows) {
  const GivenValue* path = Find(flags, "config");
  if (path == nullptr) path = Find(environment, "config");
  if (path == nullptr || path->text.empty()) return Given();
  absl::StatusOr<std::string> content = ReadSettingsFile(path->text);
  if (!content.ok()) {
    return absl::Status(
        content.status().code(),
        absl::StrCat(path->origin, ": ", content.status().message()));
  }
  return ParseSettingsFile(path->text, *content, rows);
}

// Assigns the row from every source that has it, weakest first, so that each
// value is checked and the strongest stays. Returns where that came from.
std::string Assign(const OptionRow& row, absl::Span<const Given> sources,
                   Settings& settings, std::vector<std::string>& problems) {
  std::string origin = "default";
  for (const Given& source : sources) {
    const GivenValue* value = Find(source, row.name);
    if (value == nullptr) continue;
    origin = value->origin;
    absl::Status status = row.assign(value->text, settings);
    if (!status.ok()) {
      problems.push_back(absl::StrCat(DescribeGiven(row, *value), " ",
                                      status.message(),
                                      " (allowed: ", row.allowed, ")"));
    }
  }
  return origin;
}

std::string PrintConfig(absl::Span<const EffectiveSetting> effective,
                        absl::Span<const OptionRow> rows) {
  std::string text = "# The settings of lossd, each with its source.\n";
  for (size_t i = 0; i < rows.size(); ++i) {
    absl::StrAppend(&text, rows[i].in_file ? "" : "# ", effective[i].name,
                    " = ", QuoteSetting(effective[i].value), "  # ",
                    effective[i].source, "\n");
  }
  return text;
}

absl::Status Refuse(absl::Span<const std::string> problems) {
  return absl::InvalidArgumentError(absl::StrJoin(problems, "\n"));
}

}  // namespace

absl::StatusOr<Invocation> ParseSettings(int argc, const char* const* argv,
                                         const char* const* environment,
                                         absl::string_view version) {
  const std::vector<OptionRow> rows = OptionTable();
  Invocation invocation;
  CommandLine line = ReadCommandLine(argc, argv, rows, version);
  if (line.answer) {
    invocation.answer = std::move(line.answer);
    return invocation;
  }
  Given variables = ReadEnvironment(environment, rows);
  absl::StatusOr<Given> file = ReadFile(line.given, variables, rows);
  if (!file.ok()) return file.status();

  std::vector<std::string> problems;
  const std::array<Given, 3> sources = {*std::move(file), std::move(variables),
                                        std::move(line.given)};
  for (const Given& source : sources) AddProblems(source.problems, problems);
  Settings& settings = invocation.settings;
  std::vector<std::string> origins;
  for (const OptionRow& row : rows) {
    origins.push_back(Assign(row, sources, settings, problems));
  }
  if (!problems.empty()) return Refuse(problems);

  Complete(settings);
  for (size_t i = 0; i < rows.size(); ++i) {
    invocation.effective.push_back(
        {rows[i].name, rows[i].print(settings), std::move(origins[i])});
  }
  problems = FindContradictions(invocation);
  if (!problems.empty()) return Refuse(problems);
  if (line.print_config) {
    invocation.answer = PrintConfig(invocation.effective, rows);
  }
  return invocation;
}

}  // namespace lossd
