// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_REQUEST_DECODER_H_
#define LOSSD_SERVER_RPC_REQUEST_DECODER_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "server/base/buffer_pool.h"
#include "server/rpc/message_bytes.h"
#include "server/rpc/request_reader.h"
#include "server/rpc/wire_binding.h"

namespace lossd {

// Decodes an ordinary request straight from gRPC's slices: no message is made,
// and the bytes of tensors are copied once, into one aligned buffer.
//
// Ordinary is what a program sends: tensors as data or in shared memory, every
// field once, the dtype and shape of a tensor before its content, and nothing
// that is wrong with the structure. Everything else (numbers, validate_only,
// unknown fields, errors) is left to the parser and RequestReader, which
// explain it; what both take means the same. Thread-safe.
class RequestDecoder {
 public:
  // `binding` is borrowed.
  RequestDecoder(const WireBinding* binding, int max_dimensions)
      : binding_(*binding), max_dimensions_(max_dimensions) {}

  // Fills in `decoded`, whose tensors are in its memory, from `pool`, or in
  // shared memory, to which `access` is. False: the request is not ordinary,
  // and `decoded` means nothing. `gradient`: it is a ComputeGradientRequest,
  // else a ComputeLossRequest.
  bool Decode(const MessageBytes& bytes, bool gradient,
              const SharedAccess& access, BufferPool& pool,
              DecodedRequest* decoded) const;

  // The same of a StreamGradientRequest or a StreamLossRequest: each of its
  // evaluations is decoded to where `next` says, and `next` is told its bytes.
  bool DecodeStreamed(
      const MessageBytes& bytes, bool gradient, const SharedAccess& access,
      BufferPool& pool,
      absl::FunctionRef<DecodedRequest*(int64_t bytes)> next) const;

 private:
  class Pass;

  const WireBinding& binding_;
  const int max_dimensions_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_REQUEST_DECODER_H_
