// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_CONFIG_HOST_PORT_H_
#define LOSSD_SERVER_CONFIG_HOST_PORT_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace lossd {

// Where to listen. A value, compared by its fields.
struct HostPort {
  // A host name or an address, an IPv6 address without brackets.
  std::string host;

  // 0 to 65535; 0 stands for any free port.
  int port = 0;

  bool operator==(const HostPort&) const = default;

  // "HOST:PORT", or "[HOST]:PORT" for an IPv6 address.
  std::string ToString() const;

  // Whether only this machine can connect: `host` is "localhost", in
  // 127.0.0.0/8, ::1, or one of those mapped into IPv6. Any other name counts
  // as reachable from elsewhere, because names are not resolved.
  bool IsLoopback() const;
};

// Parses "HOST:PORT"; an IPv6 address stands in brackets. INVALID_ARGUMENT,
// saying what is wrong but not repeating `text`, if the host is empty or the
// port is not a number from 0 to 65535.
absl::StatusOr<HostPort> ParseHostPort(absl::string_view text);

}  // namespace lossd

#endif  // LOSSD_SERVER_CONFIG_HOST_PORT_H_
