// SPDX-License-Identifier: Apache-2.0

#include "server/losses/violations.h"

#include <charconv>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"

namespace lossd {

void Violations::Add(Reason reason, absl::string_view field,
                     std::string description) {
  ++count_;
  if (kept_.size() >= kKept) return;
  std::string path;
  if (!loss_.empty()) {
    path = absl::StrCat("evaluation.", loss_, field.empty() ? "" : ".");
  }
  absl::StrAppend(&path, field);
  kept_.push_back({reason, std::move(path), std::move(description)});
}

void Violations::AddSentence(absl::string_view sentence) {
  for (Violation& each : kept_) {
    absl::StrAppend(&each.description, " ", sentence);
  }
}

std::string Violations::NumberName(double value) {
  if (value == std::floor(value) && std::abs(value) <= 0x1p53) {
    return absl::StrCat(static_cast<int64_t>(value));
  }
  char text[32];
  return std::string(text, std::to_chars(text, text + sizeof(text), value).ptr);
}

std::string Violations::ValueName(double value) const {
  return withhold_values_ ? "(withheld)" : NumberName(value);
}

std::string Violations::ValueName(int64_t value) const {
  return withhold_values_ ? "(withheld)" : absl::StrCat(value);
}

}  // namespace lossd
