// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_TELEMETRY_ADMIN_SERVER_H_
#define LOSSD_SERVER_TELEMETRY_ADMIN_SERVER_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace lossd {

struct AdminServerOptions {
  // Where to listen; a port of 0 takes a free one.
  std::string host = "127.0.0.1";
  int port = 0;

  // The body of /metrics, in Prometheus's text format.
  std::function<std::string()> metrics = nullptr;
  // Empty if the process takes calls, else a word why not, such as "draining".
  std::function<std::string()> not_ready = nullptr;
  // Empty if it can ever again, else a word why a new process is needed.
  std::function<std::string()> not_alive = nullptr;

  // Requests that are answered at a time, and how long one may take.
  int threads = 4;
  absl::Duration deadline = absl::Seconds(5);
};

// Answers probes and scrapes over plain HTTP, on threads of its own: it does
// not depend on the queue, on the pools that compute, or on gRPC.
//
//   GET /livez    200 "ok", or 503 with the word of `not_alive`.
//   GET /readyz   200 "ready", or 503 with the word of `not_ready`.
//   GET /metrics  200 with the metrics.
//
// HEAD is answered like GET without the body. Other paths are 404, other
// methods 405. Every connection carries one request of at most 8 KiB, of which
// a body is never read.
//
// The functions are called on any of the threads, at the same time, until
// Stop() returns.
class AdminServer {
 public:
  // FAILED_PRECONDITION if the address is in use or not this machine's,
  // INVALID_ARGUMENT if the host cannot be resolved, and what else bind(2)
  // says; the message names the address and the reason.
  static absl::StatusOr<std::unique_ptr<AdminServer>> Start(
      AdminServerOptions options);

  // Calls Stop().
  ~AdminServer();
  AdminServer(const AdminServer&) = delete;
  AdminServer& operator=(const AdminServer&) = delete;

  // The port that is listened on, never 0.
  int port() const;

  // Ends listening and waits for the requests in progress, at most their
  // deadline. Call it from one thread; further calls do nothing.
  void Stop();

 private:
  struct State;
  explicit AdminServer(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_TELEMETRY_ADMIN_SERVER_H_
