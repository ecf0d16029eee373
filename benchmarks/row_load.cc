// SPDX-License-Identifier: Apache-2.0
//
// Loads StreamRows: sends the rows of one cross_entropy, the same chunk of
// logits again and again, takes the gradients, and prints how long it took.

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lossd/v1/stream.pb.h"

namespace lossd {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::string address;
  int64_t rows = 8192;
  int64_t classes = 32768;
  int64_t chunk_rows = 32;
  bool gradient = false;
  double timeout = 60;
};

grpc::ByteBuffer BufferOf(const v1::StreamRowsRequest& message) {
  const grpc::Slice slice(message.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

grpc::ByteBuffer MakeHead(const Options& options) {
  v1::StreamRowsRequest message;
  v1::Evaluation& evaluation =
      options.gradient
          ? *message.mutable_head()->mutable_gradient()->mutable_evaluation()
          : *message.mutable_head()->mutable_loss()->mutable_evaluation();
  v1::Tensor& input = *evaluation.mutable_cross_entropy()->mutable_input();
  input.set_dtype(v1::DTYPE_FLOAT32);
  input.add_shape(options.rows);
  input.add_shape(options.classes);
  std::vector<int64_t> labels(static_cast<size_t>(options.rows));
  for (size_t i = 0; i < labels.size(); ++i) {
    labels[i] = static_cast<int64_t>(i) * 997 % options.classes;
  }
  v1::Tensor& target = *evaluation.mutable_cross_entropy()->mutable_target();
  target.set_dtype(v1::DTYPE_INT64);
  target.add_shape(options.rows);
  target.set_data(labels.data(), labels.size() * sizeof(int64_t));
  return BufferOf(message);
}

// Logits between -2 and 2.
grpc::ByteBuffer MakeChunk(const Options& options) {
  std::vector<float> logits(
      static_cast<size_t>(options.chunk_rows * options.classes));
  uint32_t state = 1;
  for (float& logit : logits) {
    state = state * 1664525U + 1013904223U;
    logit = static_cast<float>(state >> 8) / (1 << 22) - 2;
  }
  v1::StreamRowsRequest message;
  message.mutable_chunk()->set_rows(options.chunk_rows);
  v1::TensorRows& rows = *message.mutable_chunk()->add_tensors();
  rows.set_name("input");
  rows.set_data(logits.data(), logits.size() * sizeof(float));
  return BufferOf(message);
}

// One call of StreamRows: a message is written and one is read at a time.
class RowsCall {
 public:
  RowsCall(const Options& options, grpc::GenericStub* stub)
      : head_(MakeHead(options)),
        chunk_(MakeChunk(options)),
        chunks_left_(options.rows / options.chunk_rows) {
    context_.set_deadline(
        std::chrono::system_clock::now() +
        std::chrono::milliseconds(static_cast<int64_t>(options.timeout * 1e3)));
    stream_ = stub->PrepareCall(&context_, "/lossd.v1.LossService/StreamRows",
                                &queue_);
  }

  // Runs it from its beginning to its end.
  grpc::Status Run() {
    stream_->StartCall(Tag(kStarted));
    void* tag = nullptr;
    bool ok = false;
    grpc::Status status;
    while (queue_.Next(&tag, &ok)) {
      if (tag == Tag(kStarted) && ok) {
        stream_->Write(head_, Tag(kWritten));
        stream_->Read(&answer_, Tag(kRead));
      } else if (tag == Tag(kWritten) && ok) {
        WriteNext();
      } else if (tag == Tag(kRead) && ok) {
        answer_bytes_ += static_cast<int64_t>(answer_.Length());
        stream_->Read(&answer_, Tag(kRead));
      } else if (tag == Tag(kRead) || tag == Tag(kStarted)) {
        stream_->Finish(&status, Tag(kFinished));
      } else if (tag == Tag(kFinished)) {
        queue_.Shutdown();
      }
    }
    return status;
  }

  int64_t answer_bytes() const { return answer_bytes_; }

 private:
  enum Event : intptr_t { kStarted = 1, kRead, kWritten, kClosed, kFinished };
  static void* Tag(Event event) { return reinterpret_cast<void*>(event); }

  void WriteNext() {
    if (chunks_left_-- > 0) {
      stream_->Write(chunk_, Tag(kWritten));
    } else {
      stream_->WritesDone(Tag(kClosed));
    }
  }

  const grpc::ByteBuffer head_;
  const grpc::ByteBuffer chunk_;
  int64_t chunks_left_;
  int64_t answer_bytes_ = 0;
  grpc::ByteBuffer answer_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
};

// Makes the call and prints what it took; false if it failed.
bool Measure(const Options& options, grpc::GenericStub* stub) {
  RowsCall call(options, stub);
  const Clock::time_point begin = Clock::now();
  const grpc::Status status = call.Run();
  const std::chrono::duration<double> elapsed = Clock::now() - begin;
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.error_message().c_str());
    return false;
  }
  const int64_t bytes =
      options.rows * options.classes * static_cast<int64_t>(sizeof(float));
  std::printf(
      "{\"seconds\": %.6f, \"input_bytes\": %lld, \"answer_bytes\": %lld}\n",
      elapsed.count(), static_cast<long long>(bytes),
      static_cast<long long>(call.answer_bytes()));
  return true;
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("Loads StreamRows with the rows of one evaluation");
  app.add_option("--address", options.address, "HOST:PORT")->required();
  app.add_option("--rows", options.rows)->check(CLI::PositiveNumber);
  app.add_option("--classes", options.classes)->check(CLI::PositiveNumber);
  app.add_option("--chunk-rows", options.chunk_rows, "Divides --rows")
      ->check(CLI::PositiveNumber);
  app.add_flag("--gradient", options.gradient, "Gradients, too");
  app.add_option("--timeout", options.timeout, "Seconds")
      ->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  if (options.rows % options.chunk_rows != 0) {
    std::fprintf(stderr, "--chunk-rows must divide --rows\n");
    return 2;
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  const auto channel = grpc::CreateCustomChannel(
      options.address, grpc::InsecureChannelCredentials(), arguments);
  grpc::GenericStub stub(channel);
  if (!channel->WaitForConnected(std::chrono::system_clock::now() +
                                 std::chrono::seconds(10))) {
    std::fprintf(stderr, "no server at %s\n", options.address.c_str());
    return 1;
  }
  return Measure(options, &stub) ? 0 : 1;
}

}  // namespace
}  // namespace lossd

int main(int argc, char** argv) { return lossd::Main(argc, argv); }
