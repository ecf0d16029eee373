// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/message_bytes.h"

#include <climits>

#include "grpcpp/impl/codegen/proto_utils.h"
#include "grpcpp/support/proto_buffer_reader.h"
#include "grpcpp/support/proto_buffer_writer.h"

namespace lossd {

bool ParseMessage(grpc::ByteBuffer* bytes, google::protobuf::Message* message) {
  // A message without fields may come as no buffer at all.
  if (!bytes->Valid()) return true;
  grpc::ProtoBufferReader reader(bytes);
  return reader.status().ok() && message->ParseFromZeroCopyStream(&reader);
}

bool SerializeMessage(const google::protobuf::Message& message,
                      grpc::ByteBuffer* bytes) {
  if (message.ByteSizeLong() > INT_MAX) return false;
  bool own_buffer = false;
  return grpc::GenericSerialize<grpc::ProtoBufferWriter,
                                google::protobuf::Message>(message, bytes,
                                                           &own_buffer)
      .ok();
}

}  // namespace lossd
