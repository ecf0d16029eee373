// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_HEALTH_SERVICE_H_
#define LOSSD_SERVER_RPC_HEALTH_SERVICE_H_

#include <set>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "server/rpc/queued_service.h"

namespace lossd {

// grpc.health.v1.Health: the status of the server, which has the name "", and
// of its services, which all have the same. A watch that its caller reads
// slowly skips statuses that were followed by others. Thread-safe.
class HealthService final : public QueuedService {
 public:
  static constexpr char kName[] = "grpc.health.v1.Health";

  // `services` are full names. They are SERVING.
  explicit HealthService(std::set<std::string> services);

  // No call may be in progress, or follow.
  ~HealthService() override;

  // SERVING or NOT_SERVING from now on. Tells the watches.
  void SetServing(bool serving);

  // Ends the watches, and from now on each that begins, with UNAVAILABLE once
  // the status was sent. Does not wait for their ends.
  void EndWatches();

 private:
  class CheckCall;
  class WatchCall;

  bool Knows(absl::string_view service) const;
  bool Serving();
  // Brings every watch up to date.
  void Tell() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::set<std::string> services_;
  absl::Mutex mutex_;
  bool serving_ ABSL_GUARDED_BY(mutex_) = true;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  // Those that have a request and no end.
  std::set<WatchCall*> watches_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_HEALTH_SERVICE_H_
