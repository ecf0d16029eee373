// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_LISTEN_ADDRESS_H_
#define LOSSD_SERVER_RPC_LISTEN_ADDRESS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/config/host_port.h"

namespace lossd {

// Whether the address can be listened on now, found by trying. gRPC itself says
// only that it could not. FAILED_PRECONDITION with the address and the reason.
absl::Status CheckCanListen(const HostPort& address);

// Where something listens, such as {"listen", "127.0.0.1:50051"}.
struct NamedAddress {
  std::string name;
  std::string address;
};

// Writes "NAME=ADDRESS" to the file, a line for each. Whoever sees the file
// sees all of it. UNAVAILABLE with the path and the reason if that fails.
absl::Status WritePortFile(const std::string& path,
                           absl::Span<const NamedAddress> addresses);

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_LISTEN_ADDRESS_H_
