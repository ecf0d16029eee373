// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_LOSS_SERVICE_H_
#define LOSSD_SERVER_RPC_LOSS_SERVICE_H_

#include <atomic>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "grpcpp/impl/service_type.h"
#include "lossd/v1/loss_service.pb.h"
#include "server/batching/batcher.h"
#include "server/rpc/call_recorder.h"
#include "server/rpc/compute_call.h"
#include "server/rpc/request_reader.h"
#include "server/rpc/server_parts.h"
#include "server/rpc/status.h"
#include "server/rpc/unary_reactor.h"
#include "server/rpc/wire_binding.h"

namespace lossd {

// The calls of lossd.v1.LossService, in bytes: a request that cannot be parsed
// is then answered as the contract says. Each call that computes is parsed and
// checked on gRPC's thread, and then computed and answered on that thread or on
// one of the batcher's. Thread-safe.
class LossService final : public grpc::Service {
 public:
  static constexpr char kName[] = "lossd.v1.LossService";

  // FAILED_PRECONDITION if the contract and the losses disagree.
  static absl::StatusOr<std::unique_ptr<LossService>> Create(
      const ServerParts& parts);

  // No call may be in progress, or follow.
  ~LossService() override;

  // Returns when all work that was accepted has been answered.
  void Drain() { batcher_->Drain(); }

  // From now on calls that arrive get UNAVAILABLE.
  void RefuseCalls() { refusing_.store(true); }

  // How many calls have arrived and were not refused, from their headers on,
  // that gRPC is not done with.
  int64_t in_flight() const { return recorder_.in_flight(); }

 private:
  class Item;
  class ComputeReactor;
  class TellReactor;

  LossService(const ServerParts& parts, WireBinding binding);

  // Registers a method, for each of whose calls `make` makes the reactor.
  void AddUnaryMethod(
      Method method,
      std::function<UnaryReactor*(grpc::CallbackServerContext*)> make);

  // Counts a call, unless calls are refused: then fails it and returns false.
  bool Admit(Method method, const grpc::CallbackServerContext& context,
             UnaryReactor* reactor);
  // Checks the request and gives it to the batcher, or fails the call.
  void Begin(const std::shared_ptr<ComputeCall>& call, bool received,
             grpc::ByteBuffer bytes);
  // Parses the request into the call's arena and reads it; false if it is none.
  template <typename Request>
  bool Parse(ComputeCall& call, grpc::ByteBuffer* bytes,
             Violations* violations) const;

  // Runs the calls of a batch and answers each.
  void RunBatch(absl::Span<BatchItem* const> batch);
  void Answer(ComputeCall& call, const RunRecord& run);

  // These end the call.
  void FailViolations(ComputeCall& call, const Violations& violations);
  void FailDropped(ComputeCall& call, const Drop& drop);
  void FailInternal(ComputeCall& call);
  void Finish(ComputeCall& call, const grpc::Status& status, Reason reason,
              absl::string_view field);

  absl::Time DeadlineOf(const grpc::CallbackServerContext& context) const;
  ErrorContext ContextOf(const ComputeCall& call) const;

  const Settings& settings_;
  const Engine& engine_;
  const Clock& clock_;
  const WireBinding binding_;
  const RequestReader reader_;
  const ServerIdentity identity_;
  CallRecorder recorder_;
  std::atomic<bool> refusing_ = false;
  const v1::ListLossesResponse losses_;
  const v1::GetServerInfoResponse info_;
  // Last: its threads use the others.
  std::unique_ptr<Batcher> batcher_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_LOSS_SERVICE_H_
