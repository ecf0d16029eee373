// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_COMPUTE_CALL_H_
#define LOSSD_SERVER_RPC_COMPUTE_CALL_H_

#include <atomic>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "google/protobuf/arena.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "lossd/v1/loss_service.pb.h"
#include "server/engine/engine.h"
#include "server/rpc/answer_writer.h"
#include "server/rpc/request_reader.h"
#include "server/rpc/unary_reactor.h"

namespace lossd {

// The calls of LossService; the labels of metrics are in this order.
enum class Method {
  kComputeLoss,
  kComputeGradient,
  kListLosses,
  kGetServerInfo
};

inline constexpr const char* kMethodPaths[] = {
    "/lossd.v1.LossService/ComputeLoss",
    "/lossd.v1.LossService/ComputeGradient", "/lossd.v1.LossService/ListLosses",
    "/lossd.v1.LossService/GetServerInfo"};

constexpr const char* MethodPath(Method method) {
  return kMethodPaths[static_cast<int>(method)];
}

// Such as "ComputeLoss".
constexpr absl::string_view MethodName(Method method) {
  constexpr absl::string_view kPrefix = "/lossd.v1.LossService/";
  return absl::string_view(MethodPath(method)).substr(kPrefix.size());
}

// One call that computes, with all that its answer is made from. gRPC's reactor
// and the batcher's item share it, because either can outlive the other. Used
// by one thread at a time, except for `cancelled`.
struct ComputeCall {
  ComputeCall(Method method, grpc::CallbackServerContext* context,
              UnaryReactor* reactor)
      : method(method), context(context), reactor(reactor) {}

  const Method method;

  // gRPC's, until the reactor has answered or failed.
  grpc::CallbackServerContext* const context;
  UnaryReactor* const reactor;

  // Whether the caller has gone away.
  std::atomic<bool> cancelled = false;
  absl::Time deadline = absl::InfiniteFuture();

  // The request's message is on the arena, and the task points into it.
  google::protobuf::Arena arena;
  DecodedRequest decoded;
  std::unique_ptr<Task> task;

  // The loss, or empty.
  absl::string_view loss_name() const {
    const Evaluation& evaluation =
        task == nullptr ? decoded.evaluation : task->evaluation;
    return evaluation.loss == nullptr ? "" : evaluation.loss->schema.name;
  }
};

// Writes the answer of a call whose task has run without violations, and takes
// the memory of its large tensors. False if it would be longer than
// `max_bytes`, or than a message can be; `*bytes` is its length.
bool WriteAnswer(ComputeCall& call, const ServerIdentity& identity,
                 const RunRecord& run, int64_t max_bytes,
                 grpc::ByteBuffer* answer, int64_t* bytes);

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_COMPUTE_CALL_H_
