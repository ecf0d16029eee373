// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_MESSAGE_BYTES_H_
#define LOSSD_SERVER_RPC_MESSAGE_BYTES_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/container/inlined_vector.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "google/protobuf/io/zero_copy_stream.h"
#include "google/protobuf/message.h"
#include "grpc/byte_buffer.h"
#include "grpc/slice.h"
#include "server/base/aligned_buffer.h"

namespace lossd {

// The bytes of one message, as gRPC's core has them: slices that are counted
// and shared, never copied. Movable, not copyable.
class MessageBytes {
 public:
  // No message.
  MessageBytes() = default;
  // Takes over what gRPC's core handed out; null is no message.
  explicit MessageBytes(grpc_byte_buffer* buffer) : buffer_(buffer) {}

  bool present() const { return buffer_ != nullptr; }
  absl::Span<const grpc_slice> slices() const;
  // Bytes in all slices.
  int64_t size() const;

  // gRPC's core borrows it, to read or to fill in.
  grpc_byte_buffer* core() { return buffer_.get(); }

 private:
  struct Destroy {
    void operator()(grpc_byte_buffer* buffer) const {
      grpc_byte_buffer_destroy(buffer);
    }
  };
  std::unique_ptr<grpc_byte_buffer, Destroy> buffer_;
};

// Puts a message together from pieces.
class MessageBuilder {
 public:
  MessageBuilder() = default;
  ~MessageBuilder();

  MessageBuilder(const MessageBuilder&) = delete;
  MessageBuilder& operator=(const MessageBuilder&) = delete;

  // Copies the bytes, those of a long text straight into a slice.
  void Append(absl::string_view bytes);
  // Takes the memory, which is given back when gRPC is done with it.
  void Append(AlignedBuffer memory);
  // The same of its first `bytes` only.
  void Append(AlignedBuffer memory, int64_t bytes);

  // Bytes so far.
  int64_t size() const {
    return slice_bytes_ + static_cast<int64_t>(text_.size());
  }

  // The message of what was appended since the last one.
  MessageBytes Build();

 private:
  void AppendSlice(absl::string_view bytes);
  void EndText();

  std::string text_;  // after all slices
  absl::InlinedVector<grpc_slice, 4> slices_;
  int64_t slice_bytes_ = 0;  // in the slices
};

// Reads the bytes of slices, which are borrowed, without copying them.
class SliceInputStream final
    : public google::protobuf::io::ZeroCopyInputStream {
 public:
  explicit SliceInputStream(absl::Span<const grpc_slice> slices)
      : slices_(slices) {}

  bool Next(const void** data, int* size) override;
  void BackUp(int count) override;
  bool Skip(int count) override;
  int64_t ByteCount() const override { return count_; }

 private:
  const absl::Span<const grpc_slice> slices_;
  size_t next_ = 0;      // the slice to go on with
  size_t position_ = 0;  // in that slice
  int64_t count_ = 0;
};

// False if the bytes are not such a message. No message is an empty one.
bool ParseMessage(const MessageBytes& bytes,
                  google::protobuf::Message* message);

// `message` is at most as long as a message can be.
MessageBytes SerializeMessage(const google::protobuf::Message& message);

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_MESSAGE_BYTES_H_
