// SPDX-License-Identifier: Apache-2.0
//
// Loads StreamGradient over one stream: sends the evaluations of a file again
// and again, several to a message, so many of them without outcome at a time,
// and prints how many outcomes came in a second.

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "google/protobuf/io/coded_stream.h"
#include "lossd/v1/stream.pb.h"

namespace lossd {
namespace {

using Clock = std::chrono::steady_clock;
using google::protobuf::io::CodedInputStream;

struct Options {
  std::string address;
  std::string payload;  // the path of a ComputeGradientRequest
  int per_message = 32;
  int window = 256;
  double seconds = 1;
  double warm_up = 0.3;
};

// A StreamGradientRequest with the payload as often as a message has it.
grpc::ByteBuffer MakeMessage(const Options& options) {
  std::ifstream file(options.payload, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  v1::StreamGradientRequest message;
  for (int i = 0; i < options.per_message; ++i) {
    v1::StreamedGradient* streamed = message.add_evaluations();
    streamed->set_id(i + 1);
    if (!streamed->mutable_request()->ParseFromString(bytes)) std::abort();
  }
  const grpc::Slice slice(message.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

// Outcomes in a message, of which no more is read than their lengths.
int64_t CountOutcomes(const grpc::ByteBuffer& message) {
  std::vector<grpc::Slice> slices;
  message.Dump(&slices);
  std::string bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()),
                      static_cast<int>(bytes.size()));
  int64_t count = 0;
  uint32_t length = 0;
  while (in.ReadTag() != 0 && in.ReadVarint32(&length) &&
         in.Skip(static_cast<int>(length))) {
    ++count;
  }
  return count;
}

// Outcomes a second after the warm-up; negative if the stream ended.
double Run(const Options& options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  grpc::GenericStub stub(grpc::CreateCustomChannel(
      options.address, grpc::InsecureChannelCredentials(), arguments));
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto stream = stub.PrepareCall(
      &context, "/lossd.v1.LossService/StreamGradient", &queue);
  enum Tag : intptr_t { kStarted = 1, kRead, kWritten };
  const auto tag_of = [](Tag tag) { return reinterpret_cast<void*>(tag); };
  const grpc::ByteBuffer request = MakeMessage(options);
  grpc::ByteBuffer answer;
  int64_t open = 0;
  int64_t counted = 0;
  bool writing = false;
  const auto begin =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(
                         std::chrono::duration<double>(options.warm_up));
  const auto end = begin + std::chrono::duration_cast<Clock::duration>(
                               std::chrono::duration<double>(options.seconds));
  stream->StartCall(tag_of(kStarted));
  void* tag = nullptr;
  bool ok = false;
  bool ended = false;
  while (Clock::now() < end && !ended && queue.Next(&tag, &ok)) {
    ended = !ok;
    if (tag == tag_of(kRead) && ok) {
      const int64_t outcomes = CountOutcomes(answer);
      open -= outcomes;
      if (Clock::now() >= begin) counted += outcomes;
    }
    writing = writing && tag != tag_of(kWritten);
    if (!ended && tag != tag_of(kWritten)) stream->Read(&answer, tag_of(kRead));
    if (!ended && !writing && open + options.per_message <= options.window) {
      stream->Write(request, grpc::WriteOptions(), tag_of(kWritten));
      open += options.per_message;
      writing = true;
    }
  }
  context.TryCancel();
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  return ended ? -1 : static_cast<double>(counted) / options.seconds;
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("Loads StreamGradient over one stream");
  app.add_option("--address", options.address, "HOST:PORT")->required();
  app.add_option("--payload", options.payload, "A ComputeGradientRequest")
      ->required()
      ->check(CLI::ExistingFile);
  app.add_option("--per-message", options.per_message)
      ->check(CLI::Range(1, 4096));
  app.add_option("--window", options.window)->check(CLI::Range(1, 1 << 20));
  app.add_option("--seconds", options.seconds)->check(CLI::PositiveNumber);
  app.add_option("--warm-up", options.warm_up)->check(CLI::NonNegativeNumber);
  CLI11_PARSE(app, argc, argv);
  const double rate = Run(options);
  std::printf("{\"evaluations_per_s\": %.1f}\n", rate);
  return rate < 0 ? 1 : 0;
}

}  // namespace
}  // namespace lossd

int main(int argc, char** argv) { return lossd::Main(argc, argv); }
