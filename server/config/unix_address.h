// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_CONFIG_UNIX_ADDRESS_H_
#define LOSSD_SERVER_CONFIG_UNIX_ADDRESS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace lossd {

// Whether `text` is meant as the address of a Unix socket: "unix:...".
bool IsUnixAddress(absl::string_view text);

// The path of "unix:PATH" or "unix:///PATH", as gRPC writes the address of a
// Unix socket. INVALID_ARGUMENT, saying what is wrong but not repeating `text`,
// if there is no path, or one that no socket can have: it is longer than
// kMaxUnixPathBytes, or has a comma or a control character.
absl::StatusOr<std::string> ParseUnixAddress(absl::string_view text);

// "unix:PATH".
std::string UnixAddress(absl::string_view path);

// The system's own limit is 107; the rest is for the name that a socket has
// until it is ready.
inline constexpr int kMaxUnixPathBytes = 90;

}  // namespace lossd

#endif  // LOSSD_SERVER_CONFIG_UNIX_ADDRESS_H_
