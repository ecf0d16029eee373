// SPDX-License-Identifier: Apache-2.0
//
// The chunks of lossd.v1.LossService.StreamRows on their way in and out.

#ifndef LOSSD_SERVER_RPC_ROWS_CHUNK_H_
#define LOSSD_SERVER_RPC_ROWS_CHUNK_H_

#include <cstdint>
#include <memory>

#include "absl/strings/string_view.h"
#include "lossd/v1/stream.pb.h"
#include "server/base/buffer_pool.h"
#include "server/engine/row_stream.h"
#include "server/losses/violations.h"
#include "server/rpc/answer_writer.h"
#include "server/rpc/message_bytes.h"

namespace lossd {

// The next rows of every streamed tensor, with their memory.
struct DecodedRows {
  RowStream::Chunk chunk;
  AlignedBuffer memory;
  // What an unusual message was parsed into.
  std::unique_ptr<v1::StreamRowsRequest> message;
};

// Reads the message of a chunk for `stream`, of which `rows_left` rows have not
// come. The rows of an ordinary message, whose names precede their data, are
// copied once, from gRPC's slices to memory of `pool`; any other is parsed.
// False after adding to `violations` what is wrong. `version` is the server's,
// for messages. Looks at nothing of the stream that Feed() changes.
bool ReadRows(const MessageBytes& bytes, const RowStream& stream,
              int64_t rows_left, absl::string_view version, BufferPool& pool,
              DecodedRows* rows, Violations* violations);

// The message of a chunk of gradients; takes their memory. `*bytes` is its
// length; if that is more than `max_bytes` no message is given back.
MessageBytes WriteGradientRows(RowStream::Gradients gradients,
                               int64_t max_bytes, int64_t* bytes);

// The message of the result.
MessageBytes WriteRowsResult(AnswerBytes answer);

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_ROWS_CHUNK_H_
