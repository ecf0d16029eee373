// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_CONFIG_NEAREST_NAME_H_
#define LOSSD_SERVER_CONFIG_NEAREST_NAME_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace lossd {

// The name that `typo` was probably meant to be: the one with the fewest
// characters to insert, delete or replace, if that is at most a third of them
// (and at least 2 are always allowed); empty if none is so near.
std::string NearestName(absl::string_view typo,
                        absl::Span<const std::string> names);

// "; did you mean NAME?", or empty if no name is near.
std::string DidYouMean(absl::string_view typo,
                       absl::Span<const std::string> names);

}  // namespace lossd

#endif  // LOSSD_SERVER_CONFIG_NEAREST_NAME_H_
