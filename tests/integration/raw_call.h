// SPDX-License-Identifier: Apache-2.0
//
// Calls by the name of their method, with bytes instead of messages: for bytes
// that are no message, and for services whose messages the tests do not have.

#ifndef LOSSD_TESTS_INTEGRATION_RAW_CALL_H_
#define LOSSD_TESTS_INTEGRATION_RAW_CALL_H_

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "google/protobuf/unknown_field_set.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/completion_queue.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/slice.h"

namespace lossd {

inline grpc::ByteBuffer ToBytes(const std::string& text) {
  const grpc::Slice slice(text);
  return grpc::ByteBuffer(&slice, 1);
}

inline std::string ToText(const grpc::ByteBuffer& bytes) {
  std::vector<grpc::Slice> slices;
  std::string text;
  if (!bytes.Dump(&slices).ok()) return text;
  for (const grpc::Slice& slice : slices) {
    text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return text;
}

// A unary call of "/package.Service/Method".
inline grpc::Status RawCall(const std::shared_ptr<grpc::Channel>& channel,
                            const std::string& method,
                            const std::string& request, std::string* response) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::seconds(20));
  grpc::CompletionQueue queue;
  auto call = stub.PrepareUnaryCall(&context, method, ToBytes(request), &queue);
  grpc::ByteBuffer bytes;
  grpc::Status status;
  call->StartCall();
  call->Finish(&bytes, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  if (status.ok()) *response = ToText(bytes);
  return status;
}

// A stream of messages in both directions, a step at a time.
class RawStream {
 public:
  RawStream(const std::shared_ptr<grpc::Channel>& channel,
            const std::string& method)
      : stub_(channel) {
    context_.set_deadline(std::chrono::system_clock::now() +
                          std::chrono::seconds(20));
    call_ = stub_.PrepareCall(&context_, method, &queue_);
    call_->StartCall(nullptr);
    Await();
  }
  bool Write(const std::string& message) {
    call_->Write(ToBytes(message), nullptr);
    return Await();
  }
  // False at the end of the stream.
  bool Read(std::string* message) {
    grpc::ByteBuffer bytes;
    call_->Read(&bytes, nullptr);
    if (!Await()) return false;
    *message = ToText(bytes);
    return true;
  }
  // No message follows.
  bool WritesDone() {
    call_->WritesDone(nullptr);
    return Await();
  }
  grpc::Status Finish() {
    grpc::Status status;
    call_->Finish(&status, nullptr);
    Await();
    return status;
  }
  void Cancel() { context_.TryCancel(); }

 private:
  bool Await() {
    void* tag = nullptr;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }

  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

// The fields of that number in an encoded message: their contents if they are
// messages or texts, else their numbers.
inline std::vector<std::string> FieldsOf(const std::string& message,
                                         int number) {
  google::protobuf::UnknownFieldSet fields;
  std::vector<std::string> found;
  if (!fields.ParseFromString(message)) return found;
  for (int i = 0; i < fields.field_count(); ++i) {
    const auto& field = fields.field(i);
    if (field.number() != number) continue;
    found.push_back(
        field.type() == google::protobuf::UnknownField::TYPE_LENGTH_DELIMITED
            ? field.length_delimited()
            : std::to_string(field.varint()));
  }
  return found;
}

// A message whose only field is a text.
inline std::string TextField(int number, const std::string& text) {
  google::protobuf::UnknownFieldSet fields;
  fields.AddLengthDelimited(number, text);
  std::string bytes;
  fields.SerializeToString(&bytes);
  return bytes;
}

}  // namespace lossd

#endif  // LOSSD_TESTS_INTEGRATION_RAW_CALL_H_
