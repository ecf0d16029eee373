// SPDX-License-Identifier: Apache-2.0
//
// Rows of the table by the kind of their values. A `field` is a function from
// Settings, constant or not, to a reference to the field in it.

#ifndef LOSSD_SERVER_CONFIG_OPTION_KINDS_H_
#define LOSSD_SERVER_CONFIG_OPTION_KINDS_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/config/option_table.h"
#include "server/config/quantity.h"

namespace lossd {

// A row of a quantity: `parse` reads it, `format` writes it, [least, most]
// bounds it.
template <typename Value, typename Field, typename Parse, typename Format>
OptionRow Quantity(std::string name, std::string metavar, Field field,
                   Parse parse, Format format, Value least, Value most,
                   std::string help) {
  OptionRow row;
  row.name = std::move(name);
  row.metavar = std::move(metavar);
  row.help = std::move(help);
  row.allowed = absl::StrCat(format(least), " to ", format(most));
  row.assign = [=](absl::string_view text, Settings& settings) {
    absl::StatusOr<Value> value = parse(text);
    if (!value.ok()) return value.status();
    if (*value < least || *value > most) {
      return absl::InvalidArgumentError("is out of range");
    }
    using Stored = std::remove_reference_t<decltype(field(settings))>;
    field(settings) = static_cast<Stored>(*value);
    return absl::OkStatus();
  };
  row.print = [=](const Settings& settings) { return format(field(settings)); };
  return row;
}

template <typename Field>
OptionRow Count(std::string name, Field field, int64_t least, int64_t most,
                std::string help) {
  return Quantity(
      std::move(name), "COUNT", field, ParseCount,
      [](int64_t value) { return absl::StrCat(value); }, least, most,
      std::move(help));
}

template <typename Field>
OptionRow Bytes(std::string name, Field field, int64_t least, int64_t most,
                std::string help) {
  return Quantity(std::move(name), "SIZE", field, ParseBytes, FormatBytes,
                  least, most, std::move(help));
}

template <typename Field>
OptionRow Operations(std::string name, Field field, double least, double most,
                     std::string help) {
  return Quantity(std::move(name), "COUNT", field, ParseOperations,
                  FormatOperations, least, most, std::move(help));
}

template <typename Field>
OptionRow Interval(std::string name, Field field, absl::Duration least,
                   absl::Duration most, std::string help) {
  return Quantity(std::move(name), "DURATION", field, ParseInterval,
                  absl::FormatDuration, least, most, std::move(help));
}

template <typename Field>
OptionRow Switch(std::string name, Field field, std::string help) {
  OptionRow row;
  row.name = std::move(name);
  row.help = std::move(help);
  row.allowed = "true or false";
  row.assign = [=](absl::string_view text, Settings& settings) {
    absl::StatusOr<bool> value = ParseSwitch(text);
    if (value.ok()) field(settings) = *value;
    return value.status();
  };
  row.print = [=](const Settings& settings) {
    return field(settings) ? "true" : "false";
  };
  return row;
}

template <typename Enum>
using Choices = std::vector<std::pair<std::string, Enum>>;

template <typename Enum, typename Field>
OptionRow Choice(std::string name, Field field, Choices<Enum> choices,
                 std::string help) {
  auto first = [](std::string* out, const auto& choice) {
    absl::StrAppend(out, choice.first);
  };
  OptionRow row;
  row.name = std::move(name);
  row.metavar = absl::StrJoin(choices, "|", first);
  row.help = std::move(help);
  row.allowed = absl::StrJoin(choices, ", ", first);
  row.assign = [=](absl::string_view text, Settings& settings) {
    for (const auto& [word, value] : choices) {
      if (text != word) continue;
      field(settings) = value;
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError("is none of the choices");
  };
  row.print = [=](const Settings& settings) {
    for (const auto& [word, value] : choices) {
      if (value == field(settings)) return word;
    }
    return std::string();
  };
  return row;
}

// A row of text: at most `most` characters, for which `is_valid` holds.
template <typename Field>
OptionRow Text(std::string name, std::string metavar, Field field, size_t most,
               bool (*is_valid)(unsigned char), std::string allowed,
               std::string help) {
  OptionRow row;
  row.name = std::move(name);
  row.metavar = std::move(metavar);
  row.help = std::move(help);
  row.allowed = std::move(allowed);
  row.assign = [=](absl::string_view text, Settings& settings) {
    if (text.size() > most) return absl::InvalidArgumentError("is too long");
    if (!std::all_of(text.begin(), text.end(), is_valid)) {
      return absl::InvalidArgumentError("has a character that cannot be there");
    }
    field(settings) = std::string(text);
    return absl::OkStatus();
  };
  row.print = [=](const Settings& settings) { return field(settings); };
  return row;
}

}  // namespace lossd

#endif  // LOSSD_SERVER_CONFIG_OPTION_KINDS_H_
