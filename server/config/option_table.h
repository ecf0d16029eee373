// SPDX-License-Identifier: Apache-2.0
//
// The one table that the flags, the environment variables, the keys of the
// file, --help and --print-config all follow from.

#ifndef LOSSD_SERVER_CONFIG_OPTION_TABLE_H_
#define LOSSD_SERVER_CONFIG_OPTION_TABLE_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/config/settings.h"

namespace lossd {

// One setting.
struct OptionRow {
  std::string name;     // "max-elements"
  std::string group;    // A heading of --help.
  std::string metavar;  // "COUNT"; empty for a switch.
  std::string help;
  std::string allowed;  // What values can be, in words.
  // What --help gives as the default.
  std::string default_text;
  // Writes a value. On error the settings are as before, and the message is a
  // predicate: "is not a whole number".
  std::function<absl::Status(absl::string_view text, Settings& settings)>
      assign;
  std::function<std::string(const Settings& settings)> print;
  // A further environment variable with the same meaning; empty if none.
  std::string environment_alias;
  // Whether the file can hold it.
  bool in_file = true;
};

// Every setting, in the order of --help.
std::vector<OptionRow> OptionTable();

// "LOSSD_MAX_ELEMENTS" for "max-elements".
std::string EnvironmentName(absl::string_view option);

// A value as one source gave it.
struct GivenValue {
  std::string text;
  std::string origin;  // As in EffectiveSetting::source.
};

// What one source gave: values by the option's name, and what is wrong with
// the source itself, a line each.
struct Given {
  std::map<std::string, GivenValue, std::less<>> values;
  std::vector<std::string> problems;
};

// The start of a message about a value: the origin, the option where the
// origin does not tell it, and the value, escaped and cut to a printable
// length.
std::string DescribeGiven(const OptionRow& row, const GivenValue& given);

}  // namespace lossd

#endif  // LOSSD_SERVER_CONFIG_OPTION_TABLE_H_
