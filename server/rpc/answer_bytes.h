// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_ANSWER_BYTES_H_
#define LOSSD_SERVER_RPC_ANSWER_BYTES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "grpcpp/support/byte_buffer.h"
#include "lossd/v1/loss_service.pb.h"
#include "server/rpc/answer_writer.h"

namespace lossd {

// The bytes of an answer, in whose message the large tensors are missing: of a
// ComputeLossResponse, which is laid out like a ComputeGradientResponse.
class AnswerBytes {
 public:
  // Borrows everything.
  AnswerBytes(const v1::ComputeLossResponse& response,
              absl::Span<const LargeTensor> tensors);

  // How many there are.
  int64_t size() const { return size_; }

  // The bytes. Those of the large tensors are not copied: their memory is taken
  // from them, and freed when gRPC is done with it.
  grpc::ByteBuffer Take();

 private:
  const v1::ComputeLossResponse& response_;
  const absl::Span<const LargeTensor> tensors_;
  std::vector<std::string> heads_;  // what precedes the data of each tensor
  int64_t result_size_ = 0;
  int64_t size_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_ANSWER_BYTES_H_
