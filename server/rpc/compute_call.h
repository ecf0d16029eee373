// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_COMPUTE_CALL_H_
#define LOSSD_SERVER_RPC_COMPUTE_CALL_H_

#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/protobuf/message.h"
#include "grpcpp/support/status.h"
#include "server/engine/engine.h"
#include "server/rpc/answer_writer.h"
#include "server/rpc/request_reader.h"

namespace lossd {

// The calls of LossService; the labels of metrics are in this order.
enum class Method {
  kComputeLoss,
  kComputeGradient,
  kListLosses,
  kGetServerInfo,
  kStreamLoss,
  kStreamGradient,
  kStreamRows
};

inline constexpr const char* kMethodPaths[] = {
    "/lossd.v1.LossService/ComputeLoss",
    "/lossd.v1.LossService/ComputeGradient",
    "/lossd.v1.LossService/ListLosses",
    "/lossd.v1.LossService/GetServerInfo",
    "/lossd.v1.LossService/StreamLoss",
    "/lossd.v1.LossService/StreamGradient",
    "/lossd.v1.LossService/StreamRows"};

constexpr const char* MethodPath(Method method) {
  return kMethodPaths[static_cast<int>(method)];
}

// Such as "ComputeLoss".
constexpr absl::string_view MethodName(Method method) {
  constexpr absl::string_view kPrefix = "/lossd.v1.LossService/";
  return absl::string_view(MethodPath(method)).substr(kPrefix.size());
}

// One evaluation on its way from its request to its answer, whatever carries
// it. Used by one thread at a time, except for cancelled().
class ComputeCall {
 public:
  ComputeCall(Method method, int64_t max_answer_bytes)
      : method(method), max_answer_bytes(max_answer_bytes) {}
  virtual ~ComputeCall() = default;

  ComputeCall(const ComputeCall&) = delete;
  ComputeCall& operator=(const ComputeCall&) = delete;

  const Method method;
  const int64_t max_answer_bytes;
  absl::Time deadline = absl::InfiniteFuture();

  // What an unusual request was parsed into; others are in decoded.memory.
  std::shared_ptr<const google::protobuf::Message> message;
  DecodedRequest decoded;
  std::unique_ptr<Task> task;

  // The loss, or empty.
  absl::string_view loss_name() const {
    const Evaluation& evaluation =
        task == nullptr ? decoded.evaluation : task->evaluation;
    return evaluation.loss == nullptr ? "" : evaluation.loss->schema.name;
  }

  // Whether the caller is known to have gone away.
  virtual bool cancelled() const = 0;
  // Has cancelled() change when the caller goes away: this call waits.
  virtual void WatchCancellation() = 0;
  // The caller's trace, or empty.
  virtual absl::string_view traceparent() const = 0;
  // These end the evaluation, on any thread, once.
  virtual void Answer(AnswerBytes answer) = 0;
  virtual void Fail(const grpc::Status& status,
                    absl::Duration retry_pushback) = 0;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_COMPUTE_CALL_H_
