// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_SERVER_H_
#define LOSSD_SERVER_RPC_SERVER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/rpc/listen_address.h"
#include "server/rpc/server_parts.h"

namespace lossd {

// What listens: LossService, health and reflection over gRPC, the admin port,
// and the socket that hands out shared memory. It serves from Start() until
// Shutdown(). Its functions may be called by one thread at a time.
//
// A drain has two steps, so that callers learn of it before they are refused:
//
//   server->StopBeingReady();  // health is NOT_SERVING, /readyz is 503
//   (wait)                     // calls are answered as before
//   server->Shutdown(timeout); // no new calls; those in flight are answered
class Server {
 public:
  // Listens where the settings of `parts` say. `metrics_text` is what /metrics
  // answers. FAILED_PRECONDITION if an address cannot be listened on, which the
  // message names with the reason, or if the contract and the losses disagree.
  static absl::StatusOr<std::unique_ptr<Server>> Start(
      const ServerParts& parts, std::function<std::string()> metrics_text);

  // Calls Shutdown(absl::ZeroDuration()).
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Where it listens: "listen", "listen_unix", "admin" and "shared_memory", of
  // those that there are. The ports are never 0.
  absl::Span<const NamedAddress> addresses() const { return addresses_; }
  // The address of that name, or empty.
  std::string AddressOf(absl::string_view name) const;

  void StopBeingReady();

  // Answers calls that arrive from now on with UNAVAILABLE, waits until those
  // in flight are answered and their answers have arrived, ends every
  // connection, and returns. What is left after `timeout` is cancelled. Further
  // calls do nothing.
  void Shutdown(absl::Duration timeout);

 private:
  struct Impl;
  Server();

  std::vector<NamedAddress> addresses_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_SERVER_H_
