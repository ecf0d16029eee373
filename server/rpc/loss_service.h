// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_LOSS_SERVICE_H_
#define LOSSD_SERVER_RPC_LOSS_SERVICE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "lossd/v1/loss_service.pb.h"
#include "server/batching/batcher.h"
#include "server/batching/byte_budget.h"
#include "server/rpc/answer_writer.h"
#include "server/rpc/call_recorder.h"
#include "server/rpc/compute_call.h"
#include "server/rpc/core_call.h"
#include "server/rpc/queued_service.h"
#include "server/rpc/request_decoder.h"
#include "server/rpc/request_reader.h"
#include "server/rpc/server_parts.h"
#include "server/rpc/shared_regions.h"
#include "server/rpc/status.h"
#include "server/rpc/wire_binding.h"

namespace lossd {

// The calls of lossd.v1.LossService, in bytes: a request that cannot be parsed
// is then answered as the contract says. A call that computes is admitted by
// its size when its headers have arrived, before its body is read. It is
// decoded and checked on the thread of its completion queue, and then computed
// and answered on that thread or on one of the batcher's. Thread-safe.
class LossService final : public QueuedService {
 public:
  static constexpr char kName[] = "lossd.v1.LossService";

  // `regions` is borrowed; null if no memory is shared. `on_lost` is called,
  // once or more, on any thread, when evaluations that name no device cannot be
  // computed any more. FAILED_PRECONDITION if the contract and the losses
  // disagree.
  static absl::StatusOr<std::unique_ptr<LossService>> Create(
      const ServerParts& parts, const SharedRegions* regions = nullptr,
      std::function<void()> on_lost = [] {});

  // No call may be in progress, or follow.
  ~LossService() override;

  // Returns when all work that was accepted has been answered.
  void Drain();

  // From now on calls that arrive get UNAVAILABLE.
  void RefuseCalls() { refusing_.store(true); }

  // How many calls have arrived and were not refused, from their headers on,
  // that have not ended.
  int64_t in_flight() const { return recorder_.in_flight(); }

 private:
  // What a call costs beside its arithmetic, in operations.
  static constexpr double kCallOperations = 4096;
  // Evaluations share batches with evaluations, and chunks with chunks.
  static constexpr uint64_t kEvaluationKey = 0, kChunkKey = 1;

  class Item;
  class ServiceCall;
  class UnaryComputeCall;
  class EvaluationStream;
  class RowStreamCall;
  class TellCall;

  LossService(const ServerParts& parts, const SharedRegions* regions,
              WireBinding binding, std::function<void()> on_lost);

  // That of a backend of the engine.
  Batcher& BatcherOf(const Backend* backend);

  std::shared_ptr<CoreCall> MakeCall(Method method, const ArrivedCall& arrived);

  std::shared_ptr<CoreCall> MakeStream(Method method,
                                       const ArrivedCall& arrived);

  // Checks the request that was read, with `violations`, and gives it to the
  // batcher, or fails the call.
  void Begin(const std::shared_ptr<ComputeCall>& call, Violations violations);
  // Reads the request into the call; false if it is none.
  bool Read(ComputeCall& call, const MessageBytes& bytes,
            const SharedAccess& access, Violations* violations) const;
  // The same by way of a message, whatever the request looks like.
  template <typename Request>
  bool Parse(ComputeCall& call, const MessageBytes& bytes,
             const SharedAccess& access, Violations* violations) const;

  // Runs the calls of a batch and answers each.
  void RunBatch(absl::Span<BatchItem* const> batch);
  void Answer(ComputeCall& call, const RunRecord& run);

  // These end the call.
  void FailViolations(ComputeCall& call, const Violations& violations);
  void FailDropped(ComputeCall& call, const Drop& drop);
  void FailInternal(ComputeCall& call);
  void FailFull(ComputeCall& call, int64_t bytes);
  void Finish(ComputeCall& call, const grpc::Status& status, Reason reason,
              absl::string_view field,
              absl::Duration retry_pushback = absl::ZeroDuration());

  // That a request of `method` cannot be parsed.
  static Violations Malformed(Method method);
  // What evaluations of the call may use of shared memory.
  SharedAccess AccessOf(const CoreCall& call);
  // The caller's, or the server's if that is earlier.
  absl::Time DeadlineOf(absl::Time callers) const;
  ErrorContext ContextOf(const ComputeCall& call) const;

  const Settings& settings_;
  const Engine& engine_;
  const Clock& clock_;
  const SharedRegions* const regions_;
  const WireBinding binding_;
  const RequestReader reader_;
  const RequestDecoder decoder_;
  const ServerIdentity identity_;
  const AnswerWriter writer_;
  ByteBudget budget_;
  CallRecorder recorder_;
  std::atomic<bool> refusing_ = false;
  const std::string losses_;  // a ListLossesResponse
  const std::function<void()> on_lost_;
  // Of each backend. Last: their threads use the others.
  std::vector<std::unique_ptr<Batcher>> batchers_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_LOSS_SERVICE_H_
