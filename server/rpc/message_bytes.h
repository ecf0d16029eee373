// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_MESSAGE_BYTES_H_
#define LOSSD_SERVER_RPC_MESSAGE_BYTES_H_

#include "google/protobuf/message.h"
#include "grpcpp/support/byte_buffer.h"

namespace lossd {

// Parses a message from the bytes of a call. False if they are no such message.
bool ParseMessage(grpc::ByteBuffer* bytes, google::protobuf::Message* message);

// Replaces `bytes` by the message. False if it is too large to be one: over
// 2 GiB.
bool SerializeMessage(const google::protobuf::Message& message,
                      grpc::ByteBuffer* bytes);

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_MESSAGE_BYTES_H_
