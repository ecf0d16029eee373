// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_CONFIG_COMMAND_LINE_H_
#define LOSSD_SERVER_CONFIG_COMMAND_LINE_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/config/option_table.h"

namespace lossd {

// What the flags say.
struct CommandLine {
  Given given;
  // The text of --help or --version.
  std::optional<std::string> answer;
  // Whether --print-config was given.
  bool print_config = false;
};

// Reads the flags --NAME VALUE and --NAME=VALUE of each row; a switch needs no
// value. Unknown flags, arguments that are no flags, missing values and flags
// that are given twice are problems. Reads neither the environment nor files.
CommandLine ReadCommandLine(int argc, const char* const* argv,
                            absl::Span<const OptionRow> rows,
                            absl::string_view version);

}  // namespace lossd

#endif  // LOSSD_SERVER_CONFIG_COMMAND_LINE_H_
