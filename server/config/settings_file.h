// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_CONFIG_SETTINGS_FILE_H_
#define LOSSD_SERVER_CONFIG_SETTINGS_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/config/option_table.h"

namespace lossd {

// Parses a file of settings: lines of NAME = VALUE, where NAME is that of the
// flag without its dashes. A value may stand in double quotes, inside which
// \" and \\ stand for " and \, or in single quotes, which have no escapes; what
// contains # or begins or ends with space must. Lines that are blank or begin
// with #, and what follows # after a value, are ignored. There are no sections:
// a file whose values are quoted, numbers, true or false is also TOML.
//
// `path` names the file in origins and problems. Unknown names, names that
// appear twice and malformed lines are problems.
Given ParseSettingsFile(absl::string_view path, absl::string_view content,
                        absl::Span<const OptionRow> rows);

// Reads at most 1 MiB. NOT_FOUND if the file cannot be read,
// INVALID_ARGUMENT if it is longer.
absl::StatusOr<std::string> ReadSettingsFile(const std::string& path);

// `text` as a value that ParseSettingsFile reads back.
std::string QuoteSetting(absl::string_view text);

}  // namespace lossd

#endif  // LOSSD_SERVER_CONFIG_SETTINGS_FILE_H_
