// SPDX-License-Identifier: Apache-2.0

#include "server/losses/violations.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace lossd {

void Violations::Add(Reason reason, absl::string_view field,
                     std::string description) {
  ++count_;
  if (kept_.size() >= kKept) return;
  std::string path = prefix_;
  if (!path.empty() && !field.empty()) path += ".";
  absl::StrAppend(&path, field);
  kept_.push_back({reason, std::move(path), std::move(description)});
}

std::string Violations::ValueName(double value) const {
  return withhold_values_ ? "(withheld)" : absl::StrCat(value);
}

std::string Violations::ValueName(int64_t value) const {
  return withhold_values_ ? "(withheld)" : absl::StrCat(value);
}

}  // namespace lossd
