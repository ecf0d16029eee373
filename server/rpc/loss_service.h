// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_LOSS_SERVICE_H_
#define LOSSD_SERVER_RPC_LOSS_SERVICE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "lossd/v1/loss_service.grpc.pb.h"
#include "server/batching/batcher.h"
#include "server/rpc/call_recorder.h"
#include "server/rpc/compute_call.h"
#include "server/rpc/request_reader.h"
#include "server/rpc/server_parts.h"
#include "server/rpc/status.h"
#include "server/rpc/wire_binding.h"

namespace lossd {

// Every method takes and gives bytes: a request that cannot be parsed is then
// answered as the contract says, and the answer is written where it is made.
using RawLossService = v1::LossService::WithRawCallbackMethod_ComputeLoss<
    v1::LossService::WithRawCallbackMethod_ComputeGradient<
        v1::LossService::WithRawCallbackMethod_ListLosses<
            v1::LossService::WithRawCallbackMethod_GetServerInfo<
                v1::LossService::Service>>>>;

// The calls of lossd.v1.LossService. Each one that computes is parsed and
// checked on gRPC's thread, and then computed and answered on that thread or on
// one of the batcher's. Thread-safe.
class LossService final : public RawLossService {
 public:
  // FAILED_PRECONDITION if the contract and the losses disagree.
  static absl::StatusOr<std::unique_ptr<LossService>> Create(
      const ServerParts& parts);

  // No call may be in progress, or follow.
  ~LossService() override;

  // Returns when all work that was accepted has been answered.
  void Drain() { batcher_->Drain(); }

  // How many calls have arrived, and how many of them have ended.
  int64_t arrived() const { return recorder_.arrived(); }
  int64_t ended() const { return recorder_.ended(); }

  grpc::ServerUnaryReactor* ComputeLoss(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* answer) override;
  grpc::ServerUnaryReactor* ComputeGradient(
      grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
      grpc::ByteBuffer* answer) override;
  grpc::ServerUnaryReactor* ListLosses(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* answer) override;
  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const grpc::ByteBuffer* request,
                                          grpc::ByteBuffer* answer) override;

 private:
  class Item;

  LossService(const ServerParts& parts, WireBinding binding);

  template <typename Request>
  grpc::ServerUnaryReactor* Compute(Method method,
                                    grpc::CallbackServerContext* context,
                                    const grpc::ByteBuffer* request,
                                    grpc::ByteBuffer* answer);
  // Checks the request and gives it to the batcher, or fails the call.
  template <typename Request>
  void Begin(const std::shared_ptr<ComputeCall>& call,
             const grpc::ByteBuffer* request);
  // Answers with the same message every time.
  template <typename Request>
  grpc::ServerUnaryReactor* Tell(Method method,
                                 grpc::CallbackServerContext* context,
                                 const grpc::ByteBuffer* request,
                                 const google::protobuf::Message& message,
                                 grpc::ByteBuffer* answer);

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
  v1::ListLossesResponse losses_;
  v1::GetServerInfoResponse info_;
  // Last: its threads use the others.
  std::unique_ptr<Batcher> batcher_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_LOSS_SERVICE_H_
