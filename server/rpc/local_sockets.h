// SPDX-License-Identifier: Apache-2.0
//
// The sockets of this process at one address, found through the system: gRPC
// has no way to end listening, or connections, and go on.

#ifndef LOSSD_SERVER_RPC_LOCAL_SOCKETS_H_
#define LOSSD_SERVER_RPC_LOCAL_SOCKETS_H_

#include <cstdint>
#include <string>

namespace lossd {

// What a listener and its connections are bound to.
struct LocalAddress {
  int port = 0;           // of TCP, or 0
  std::string unix_path;  // of a Unix socket, or empty
};

// From now on connecting to the address is refused. Connections go on.
void EndListening(const LocalAddress& address);

// The bytes that were written to connections of the address and that their
// peers' systems have not acknowledged; of Unix sockets, that their peers have
// not read.
int64_t UnacknowledgedBytes(const LocalAddress& address);

// Ends every connection of the address, as if its peer had gone away. The peer
// sees the end of the connection, which gRPC's clients take as UNAVAILABLE.
void EndConnections(const LocalAddress& address);

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_LOCAL_SOCKETS_H_
