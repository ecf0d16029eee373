// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_REQUEST_READER_H_
#define LOSSD_SERVER_RPC_REQUEST_READER_H_

#include <deque>
#include <string>

#include "absl/strings/string_view.h"
#include "lossd/v1/loss_service.pb.h"
#include "lossd/v1/stream.pb.h"
#include "server/base/aligned_buffer.h"
#include "server/engine/evaluation.h"
#include "server/losses/violations.h"
#include "server/rpc/shared_parts.h"
#include "server/rpc/wire_binding.h"

namespace lossd {

// A request as the engine takes it. It points into the message it was read
// from, which must outlive it.
struct DecodedRequest {
  Evaluation evaluation;
  int64_t id = 0;  // in its stream
  // The tensors of a request that was decoded without a message.
  AlignedBuffer memory;
  // The tensors that were written as numbers.
  std::deque<AlignedBuffer> numbers;
  // Those that are in shared memory, and the gradients that shall be.
  SharedParts shared;
  // Every tensor was, so the answer's shall be, too.
  bool answer_in_values = false;

  // The hints.
  std::string request_id;
  bool low_priority = false;
};

// Reads the messages of the two calls that compute. It finds whatever is wrong
// with their structure: unknown fields and enum numbers, a loss that is not
// set, required tensors that are absent, dtypes, shapes, lengths, numbers. What
// a loss makes of it is left to the engine. Thread-safe.
class RequestReader {
 public:
  // `binding` is borrowed. `version` is the server's, for messages.
  RequestReader(const WireBinding* binding, int max_dimensions,
                absl::string_view version)
      : binding_(*binding),
        max_dimensions_(max_dimensions),
        version_(version) {}

  // `access` is to shared memory. Fill in `decoded`, or add to `violations` all
  // that is wrong; nothing else is looked at where a field is unknown.
  // `decoded` names the loss and the request id as far as they could be read.
  void Read(const v1::ComputeLossRequest& request, const SharedAccess& access,
            DecodedRequest* decoded, Violations* violations) const;
  void Read(const v1::ComputeGradientRequest& request,
            const SharedAccess& access, DecodedRequest* decoded,
            Violations* violations) const;
  // The same of the evaluation whose rows follow: tensors may be without
  // content.
  void Read(const v1::RowsHead& head, DecodedRequest* decoded,
            Violations* violations) const;

 private:
  class Pass;

  const WireBinding& binding_;
  const int max_dimensions_;
  const std::string version_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_REQUEST_READER_H_
