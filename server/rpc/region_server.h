// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_REGION_SERVER_H_
#define LOSSD_SERVER_RPC_REGION_SERVER_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/rpc/region_protocol.h"
#include "server/rpc/shared_regions.h"
#include "server/rpc/unix_socket_file.h"
#include "server/telemetry/log.h"

namespace lossd {

struct RegionServerOptions {
  std::string path;
  mode_t mode = 0600;
  // Users who get regions, besides root and the one this process runs as.
  std::vector<uint32_t> uids;
  // More connections at a time are refused.
  int max_connections = 128;
  // In which a connection must have asked.
  absl::Duration request_time = absl::Seconds(10);
};

// Hands out regions of shared memory on a Unix socket: one for each connection,
// found by its token until the connection ends, and there for as long as any
// call uses it. One thread serves all connections and waits for none of them.
// Serves from Start() to its destruction.
class RegionServer {
 public:
  // Borrows `regions` and `log`. FAILED_PRECONDITION with the path and the
  // reason if it cannot listen there.
  static absl::StatusOr<std::unique_ptr<RegionServer>> Start(
      RegionServerOptions options, SharedRegions* regions, Log* log);

  // Ends every connection.
  ~RegionServer();
  RegionServer(const RegionServer&) = delete;
  RegionServer& operator=(const RegionServer&) = delete;

  const std::string& path() const { return options_.path; }

 private:
  struct Connection;

  RegionServer(RegionServerOptions options, SharedRegions* regions, Log* log);

  absl::Status Listen();
  void Serve();
  // When the next connection has waited long enough, in milliseconds from now
  // as poll() takes it.
  int WaitTime() const;
  void AcceptAll();
  void Welcome(int descriptor);
  // What has come from a connection; false: it has ended.
  bool Advance(Connection& connection);
  bool Answer(Connection& connection, const RegionRequest& request);
  bool Refuse(const Connection& connection, RegionStatus status);
  void End(Connection& connection);

  const RegionServerOptions options_;
  SharedRegions& regions_;
  Log& log_;
  std::unique_ptr<UnixSocketFile> file_;
  int listener_ = -1;
  int stop_ = -1;  // an eventfd
  std::vector<std::unique_ptr<Connection>> connections_;
  std::thread thread_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_REGION_SERVER_H_
