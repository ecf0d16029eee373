// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/message_bytes.h"

#include <algorithm>
#include <utility>

namespace lossd {
namespace {

// From here on a text is worth a slice of its own.
constexpr size_t kLongText = 128;

}  // namespace

absl::Span<const grpc_slice> MessageBytes::slices() const {
  if (buffer_ == nullptr) return {};
  const grpc_slice_buffer& slices = buffer_->data.raw.slice_buffer;
  return {slices.slices, slices.count};
}

int64_t MessageBytes::size() const {
  if (buffer_ == nullptr) return 0;
  return static_cast<int64_t>(buffer_->data.raw.slice_buffer.length);
}

MessageBuilder::~MessageBuilder() {
  for (const grpc_slice& slice : slices_) grpc_slice_unref(slice);
}

void MessageBuilder::Append(absl::string_view bytes) {
  if (text_.empty() && bytes.size() >= kLongText) {
    AppendSlice(bytes);
  } else {
    text_.append(bytes.data(), bytes.size());
  }
}

void MessageBuilder::AppendSlice(absl::string_view bytes) {
  slices_.push_back(grpc_slice_from_copied_buffer(bytes.data(), bytes.size()));
  slice_bytes_ += static_cast<int64_t>(bytes.size());
}

void MessageBuilder::EndText() {
  if (text_.empty()) return;
  AppendSlice(text_);
  text_.clear();
}

void MessageBuilder::Append(AlignedBuffer memory) {
  const int64_t bytes = memory.size();
  Append(std::move(memory), bytes);
}

void MessageBuilder::Append(AlignedBuffer memory, int64_t bytes) {
  if (bytes == 0) return;
  EndText();
  slice_bytes_ += bytes;
  auto* owner = new AlignedBuffer(std::move(memory));
  slices_.push_back(grpc_slice_new_with_user_data(
      owner->data(), static_cast<size_t>(bytes),
      [](void* p) { delete static_cast<AlignedBuffer*>(p); }, owner));
}

MessageBytes MessageBuilder::Build() {
  EndText();
  MessageBytes message(
      grpc_raw_byte_buffer_create(slices_.data(), slices_.size()));
  // It has counted the slices on its own.
  for (const grpc_slice& slice : slices_) grpc_slice_unref(slice);
  slices_.clear();
  slice_bytes_ = 0;
  return message;
}

bool SliceInputStream::Next(const void** data, int* size) {
  while (next_ < slices_.size()) {
    const grpc_slice& slice = slices_[next_];
    const size_t left = GRPC_SLICE_LENGTH(slice) - position_;
    if (left == 0) {
      ++next_;
      position_ = 0;
      continue;
    }
    *data = GRPC_SLICE_START_PTR(slice) + position_;
    *size = static_cast<int>(left);
    position_ += left;
    count_ += *size;
    return true;
  }
  return false;
}

void SliceInputStream::BackUp(int count) {
  position_ -= static_cast<size_t>(count);
  count_ -= count;
}

bool SliceInputStream::Skip(int count) {
  while (count > 0) {
    const void* data = nullptr;
    int size = 0;
    if (!Next(&data, &size)) return false;
    if (size > count) BackUp(size - count);
    count -= std::min(size, count);
  }
  return true;
}

bool ParseMessage(const MessageBytes& bytes,
                  google::protobuf::Message* message) {
  SliceInputStream stream(bytes.slices());
  return message->ParseFromZeroCopyStream(&stream);
}

MessageBytes SerializeMessage(const google::protobuf::Message& message) {
  MessageBuilder builder;
  builder.Append(message.SerializeAsString());
  return builder.Build();
}

}  // namespace lossd
