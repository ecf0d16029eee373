// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_LISTEN_ADDRESS_H_
#define LOSSD_SERVER_RPC_LISTEN_ADDRESS_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "server/config/host_port.h"

namespace lossd {

// Whether the address can be listened on now, found by trying. gRPC itself says
// only that it could not. FAILED_PRECONDITION with the address and the reason.
absl::Status CheckCanListen(const HostPort& address);

// Writes "listen=HOST:PORT" and, if there is one, "admin=HOST:PORT" to the
// file, a line each. Whoever sees the file sees all of it. UNAVAILABLE with the
// path and the reason if that fails.
absl::Status WritePortFile(const std::string& path, const HostPort& listen,
                           const std::optional<HostPort>& admin);

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_LISTEN_ADDRESS_H_
