// SPDX-License-Identifier: Apache-2.0

#include "server/config/command_line.h"

#include <CLI/CLI.hpp>
#include <exception>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/config/nearest_name.h"

namespace lossd {
namespace {

constexpr char kDescription[] =
    "lossd computes training losses and their gradients over gRPC.\n"
    "A flag goes before the environment, the environment before the file of\n"
    "--config, and that before the default. The file has lines NAME = VALUE\n"
    "with the names of the flags.";

std::string HelpText(const OptionRow& row) {
  // The metavariables of these say what is allowed.
  bool obvious = row.metavar.empty() || row.metavar == "PATH" ||
                 absl::StrContains(row.metavar, "|");
  return absl::StrCat(row.help, " [", obvious ? "" : row.allowed,
                      obvious ? "" : "; ", "default ", row.default_text, "; ",
                      EnvironmentName(row.name), "]");
}

// The options of one command line, and where CLI11 puts their texts. CLI11
// only splits the command line: values, the environment and the file are read
// here, because its own order lets the file go before the environment.
struct Parser {
  CLI::App app{kDescription, "lossd"};
  std::vector<std::pair<const OptionRow*, CLI::Option*>> options;
  bool print_config = false;

  Parser(absl::Span<const OptionRow> rows, absl::string_view version) {
    app.set_version_flag("--version", absl::StrCat("lossd ", version));
    app.add_flag("--print-config", print_config,
                 "Prints every setting with its source, as a file for "
                 "--config, and exits");
    app.allow_extras();
    app.get_formatter()->column_width(30);
    for (const OptionRow& row : rows) {
      options.emplace_back(&row, AddOption(row));
    }
  }

  CLI::Option* AddOption(const OptionRow& row) {
    std::string flag = absl::StrCat("--", row.name);
    CLI::Option* option =
        row.metavar.empty() ? app.add_flag(flag) : app.add_option(flag);
    option->description(HelpText(row));
    if (!row.metavar.empty()) option->type_name(row.metavar)->expected(1);
    // Repetitions are counted here, so that the message is ours.
    option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    option->group(row.group);
    return option;
  }
};

// CLI11 takes the next argument as the value of "--name=": an empty value has
// to be an argument of its own. The order is CLI11's: last argument first.
std::vector<std::string> Arguments(int argc, const char* const* argv) {
  std::vector<std::string> reversed;
  for (int i = argc - 1; i > 0; --i) {
    std::string argument = argv[i];
    if (absl::StartsWith(argument, "--") && absl::EndsWith(argument, "=")) {
      argument.pop_back();
      reversed.emplace_back();
    }
    reversed.push_back(std::move(argument));
  }
  return reversed;
}

std::string UnknownArgument(const std::vector<std::string>& extras,
                            absl::Span<const OptionRow> rows) {
  for (const std::string& extra : extras) {
    if (!absl::StartsWith(extra, "-")) continue;
    std::vector<std::string> names = {"--help", "--version", "--print-config"};
    for (const OptionRow& row : rows) {
      names.push_back(absl::StrCat("--", row.name));
    }
    std::string flag = extra.substr(0, extra.find('='));
    return absl::StrCat(flag, ": there is no such flag",
                        DidYouMean(flag, names));
  }
  return absl::StrCat(extras.front(),
                      ": is no flag, and lossd takes nothing else");
}

void Collect(const Parser& parser, Given& given) {
  for (const auto& [row, option] : parser.options) {
    const std::vector<std::string>& texts = option->results();
    if (texts.empty()) continue;
    std::string origin = absl::StrCat("--", row->name);
    if (texts.size() > 1) {
      given.problems.push_back(absl::StrCat(origin, ": is given twice"));
    }
    given.values[row->name] = {texts.front(), origin};
  }
}

}  // namespace

CommandLine ReadCommandLine(int argc, const char* const* argv,
                            absl::Span<const OptionRow> rows,
                            absl::string_view version) {
  CommandLine line;
  try {
    Parser parser(rows, version);
    try {
      parser.app.parse(Arguments(argc, argv));
    } catch (const CLI::CallForHelp&) {
      line.answer = parser.app.help();
      return line;
    }
    if (!parser.app.remaining().empty()) {
      line.given.problems.push_back(
          UnknownArgument(parser.app.remaining(), rows));
    }
    Collect(parser, line.given);
    line.print_config = parser.print_config;
  } catch (const CLI::CallForVersion& call) {
    line.answer = absl::StrCat(call.what(), "\n");
  } catch (const std::exception& error) {
    line.given.problems.push_back(error.what());
  }
  return line;
}

}  // namespace lossd
