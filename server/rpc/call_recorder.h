// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_CALL_RECORDER_H_
#define LOSSD_SERVER_RPC_CALL_RECORDER_H_

#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "grpcpp/support/status.h"
#include "server/batching/batch_observer.h"
#include "server/engine/engine.h"
#include "server/losses/violations.h"
#include "server/rpc/compute_call.h"
#include "server/rpc/wire_binding.h"
#include "server/telemetry/log.h"
#include "server/telemetry/metrics.h"
#include "server/telemetry/server_metrics.h"

namespace lossd {

// Counts calls and batches, and logs the calls that fail: method, loss, code,
// reason, field and request id, never a value of a tensor. Thread-safe.
class CallRecorder final : public BatchObserver {
 public:
  // `factory`, `log` and the engine's backends are borrowed.
  CallRecorder(const WireBinding& binding, const Engine& engine,
               absl::string_view version, MetricFactory& factory, Log& log);

  // The headers of a call have arrived; a call has ended.
  void OnArrival();
  void OnGone();
  // How many calls have arrived that have not ended.
  int64_t in_flight() const { return in_flight_.load(); }

  // The call ends with OK.
  void OnAnswer(Method method, absl::string_view loss);
  // The call ends with an error, for `reason`, which is about `field`.
  // `traceparent` is its header of that name.
  void OnFailure(Method method, absl::string_view loss,
                 absl::string_view traceparent, const grpc::Status& status,
                 Reason reason, absl::string_view field,
                 absl::string_view request_id);
  // A batch of `tasks` was computed in that time, which is divided between the
  // losses by their operations.
  void OnComputed(absl::Span<const Task* const> tasks,
                  absl::Duration computing);

  // A name for a call whose caller gave none.
  std::string MakeRequestId();

  // Sets how much is waiting.
  void SetQueue(int requests, int64_t bytes);

  // Finds out which devices are in service.
  void RefreshDevices();

  // BatchObserver.
  void OnBatch(int requests, int64_t units) override;
  void OnQueued(absl::Duration queued) override;
  void OnDropped(DropReason reason, DropStage stage) override;

 private:
  int LossIndex(absl::string_view loss) const;

  std::vector<absl::string_view> losses_;
  // The first label of each backend's devices.
  std::vector<std::pair<const Backend*, int>> first_devices_;
  ServerMetrics metrics_;
  Log& log_;
  const std::string id_prefix_;
  std::atomic<uint64_t> last_id_ = 0;
  std::atomic<int64_t> in_flight_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_CALL_RECORDER_H_
