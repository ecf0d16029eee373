// SPDX-License-Identifier: Apache-2.0

#include "server/config/unix_address.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace lossd {
namespace {

constexpr absl::string_view kScheme = "unix:";

}  // namespace

bool IsUnixAddress(absl::string_view text) {
  return absl::StartsWith(text, kScheme);
}

absl::StatusOr<std::string> ParseUnixAddress(absl::string_view text) {
  if (!absl::ConsumePrefix(&text, kScheme)) {
    return absl::InvalidArgumentError("write unix:PATH");
  }
  if (absl::StartsWith(text, "///")) text.remove_prefix(2);
  if (absl::StartsWith(text, "//")) {
    return absl::InvalidArgumentError(
        "a Unix socket has no host: write unix:PATH or unix:///PATH");
  }
  if (text.empty() || absl::EndsWith(text, "/")) {
    return absl::InvalidArgumentError("there is no path: write unix:PATH");
  }
  if (text.size() > kMaxUnixPathBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the path has more than ", kMaxUnixPathBytes, " bytes"));
  }
  if (std::any_of(text.begin(), text.end(), [](unsigned char c) {
        return absl::ascii_iscntrl(c) || c == ',';
      })) {
    return absl::InvalidArgumentError(
        "the path has a comma or a control character");
  }
  return std::string(text);
}

std::string UnixAddress(absl::string_view path) {
  return absl::StrCat(kScheme, path);
}

}  // namespace lossd
