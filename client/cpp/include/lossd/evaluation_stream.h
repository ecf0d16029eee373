// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_EVALUATION_STREAM_H_
#define LOSSD_EVALUATION_STREAM_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lossd/v1/loss_service.pb.h"

namespace lossd {

// What an evaluation of a stream came to.
template <typename Response>
struct EvaluationOutcome {
  int64_t id = 0;
  absl::StatusOr<Response> result;
};

// Evaluations over one call: small ones take a fraction of the time of a call
// each. From Client::StreamLoss or Client::StreamGradient. Keep some in flight:
//
//     auto stream = client.StreamGradient();
//     for (int id = 0; id < 64; ++id) stream->Send(id, requests[id]);
//     while (stream->open() > 0) {
//       auto outcome = stream->Next();
//       if (!outcome.ok()) return outcome.status();  // the stream broke
//       Use(outcome->id, outcome->result);
//       if (more) stream->Send(...);
//     }
//
// An evaluation that fails has its error as its outcome, and the stream goes
// on. When the stream itself ends with an error, what has no outcome can be
// sent again over another: nothing has a side effect. A stream stays with its
// server, so open a new one now and then.
//
// For one thread at a time. Works only inside Next() and Close(), except that
// Send() starts to write if it can. May outlive its client. Its destructor
// cancels what is open.
template <typename Request, typename Response>
class EvaluationStream {
 public:
  using Outcome = EvaluationOutcome<Response>;

  virtual ~EvaluationStream() = default;
  EvaluationStream(const EvaluationStream&) = delete;
  EvaluationStream& operator=(const EvaluationStream&) = delete;

  // Sends an evaluation; `id` names its outcome. Never blocks: what cannot be
  // written yet is kept, and goes with what is sent meanwhile in one message.
  // The server stops reading at 1024 without outcome. A request over the
  // client's max_message_bytes is not sent; RESOURCE_EXHAUSTED is its outcome.
  virtual void Send(int64_t id, Request request) = 0;

  // Evaluations that were sent and whose outcome Next() has not returned.
  virtual int64_t open() const = 0;

  // Waits for an outcome, of whichever evaluation is the first to have one. An
  // error is the stream's: those that are open will have no outcome.
  // FAILED_PRECONDITION if none is open.
  virtual absl::StatusOr<Outcome> Next() = 0;

  // Tells the server that no evaluation follows and waits for the stream's end;
  // OK if every evaluation has its outcome, which Next() still returns. What is
  // sent afterwards has no outcome.
  virtual absl::Status Close() = 0;

 protected:
  EvaluationStream() = default;
};

using LossStream =
    EvaluationStream<v1::ComputeLossRequest, v1::ComputeLossResponse>;
using GradientStream =
    EvaluationStream<v1::ComputeGradientRequest, v1::ComputeGradientResponse>;

}  // namespace lossd

#endif  // LOSSD_EVALUATION_STREAM_H_
