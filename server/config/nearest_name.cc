// SPDX-License-Identifier: Apache-2.0

#include "server/config/nearest_name.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"

namespace lossd {
namespace {

// Longer texts are no typos, and the distance costs the product of lengths.
constexpr size_t kMaxLength = 64;

// Levenshtein's distance, one row of the table at a time.
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

}  // namespace

std::string NearestName(absl::string_view typo,
                        absl::Span<const std::string> names) {
  if (typo.empty() || typo.size() > kMaxLength) return "";
  std::string nearest;
  size_t least = std::max<size_t>(2, typo.size() / 3) + 1;
  for (const std::string& name : names) {
    size_t distance = EditDistance(typo, name);
    if (distance < least) {
      least = distance;
      nearest = name;
    }
  }
  return nearest;
}

std::string DidYouMean(absl::string_view typo,
                       absl::Span<const std::string> names) {
  std::string nearest = NearestName(typo, names);
  if (nearest.empty()) return "";
  return absl::StrCat("; did you mean ", nearest, "?");
}

}  // namespace lossd
