// SPDX-License-Identifier: Apache-2.0
//
// The sockets of this process on one TCP port, found through the system: gRPC
// has no way to end listening, or connections, and go on.

#ifndef LOSSD_SERVER_RPC_LOCAL_SOCKETS_H_
#define LOSSD_SERVER_RPC_LOCAL_SOCKETS_H_

#include <cstdint>

namespace lossd {

// From now on connecting to the port is refused. Connections go on.
void EndListening(int port);

// The bytes that were written to connections of the port and that their peers'
// systems have not acknowledged.
int64_t UnacknowledgedBytes(int port);

// Ends every connection of the port, as if its peer had gone away. The peer
// sees the end of the connection, which gRPC's clients take as UNAVAILABLE.
void EndConnections(int port);

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_LOCAL_SOCKETS_H_
