// SPDX-License-Identifier: Apache-2.0
#include "client/cli/bench/load.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/bench/lane.h"
#include "client/cli/bench/pacer.h"
#include "lossd/error.h"

namespace lossd::cli {
namespace {

std::shared_ptr<grpc::Channel> NewConnection(const LoadOptions& options) {
  const int limit = static_cast<int>(
      std::clamp<int64_t>(options.max_message_bytes, 1, 0x7fffffff));
  grpc::ChannelArguments arguments;
  // Channels to one address share a connection otherwise.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(limit);
  arguments.SetMaxSendMessageSize(limit);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_CHANNELZ, 0);
  return grpc::CreateCustomChannel(
      options.server, grpc::InsecureChannelCredentials(), arguments);
}

using Stubs = std::vector<std::unique_ptr<grpc::GenericStub>>;

absl::StatusOr<Stubs> Connect(const LoadOptions& options) {
  const auto deadline = std::chrono::system_clock::now() +
                        absl::ToChronoMilliseconds(options.timeout);
  std::vector<std::shared_ptr<grpc::Channel>> channels;
  for (int i = 0; i < options.connections; ++i) {
    channels.push_back(NewConnection(options));
    channels.back()->GetState(/*try_to_connect=*/true);
  }
  Stubs stubs;
  for (const auto& channel : channels) {
    if (!channel->WaitForConnected(deadline)) {
      return absl::UnavailableError(absl::StrCat(
          "of ", options.connections, " connections to ", options.server, ", ",
          stubs.size(), " came about within ",
          absl::FormatDuration(options.timeout)));
    }
    stubs.push_back(std::make_unique<grpc::GenericStub>(channel));
  }
  return stubs;
}

std::vector<grpc::ByteBuffer> ToBuffers(
    absl::Span<const std::string> payloads) {
  std::vector<grpc::ByteBuffer> buffers;
  for (const std::string& payload : payloads) {
    const grpc::Slice slice(payload);
    buffers.emplace_back(&slice, 1);
  }
  return buffers;
}

LoadWindow WindowFromNow(const LoadOptions& options) {
  LoadWindow window;
  const int64_t now_ns = NowNs();
  window.begin_ns = now_ns + absl::ToInt64Nanoseconds(options.warm_up);
  window.end_ns = window.begin_ns + absl::ToInt64Nanoseconds(options.duration);
  window.give_up_ns = window.end_ns + absl::ToInt64Nanoseconds(options.timeout);
  return window;
}

// What this process has used of the processor so far.
double CpuSeconds() {
  timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) +
         static_cast<double>(time.tv_nsec) * 1e-9;
}

// Whether a repetition of the call would end the same way.
bool IsFinal(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::OUT_OF_RANGE:
    case grpc::StatusCode::FAILED_PRECONDITION:
    case grpc::StatusCode::UNIMPLEMENTED:
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::UNAUTHENTICATED:
      return true;
    default:
      return false;
  }
}

// Sends each payload once, and returns what the server has against it.
absl::Status TryPayloads(const LoadOptions& options,
                         const std::vector<grpc::ByteBuffer>& payloads,
                         grpc::GenericStub& stub) {
  for (const grpc::ByteBuffer& payload : payloads) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() +
                         absl::ToChronoMilliseconds(options.timeout));
    grpc::CompletionQueue queue;
    auto reader =
        stub.PrepareUnaryCall(&context, options.method, payload, &queue);
    reader->StartCall();
    grpc::ByteBuffer answer;
    grpc::Status status;
    reader->Finish(&answer, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    if (IsFinal(status)) return ToAbslStatus(status);
  }
  return absl::OkStatus();
}

// The share of `total` that falls to `index` of `count`.
int ShareOf(int total, int index, int count) {
  return total / count + (index < total % count ? 1 : 0);
}

}  // namespace

int64_t LoadReport::ErrorCount() const {
  int64_t count = 0;
  for (const auto& [code, failures] : errors) count += failures.count;
  return count;
}

absl::StatusOr<LoadReport> RunLoad(const LoadOptions& options,
                                   absl::Span<const std::string> payloads,
                                   const AnswerCheck& check) {
  const std::vector<grpc::ByteBuffer> buffers = ToBuffers(payloads);
  absl::StatusOr<Stubs> stubs = Connect(options);
  if (!stubs.ok()) return stubs.status();
  if (absl::Status status = TryPayloads(options, buffers, *stubs->front());
      !status.ok()) {
    return status;
  }
  const double cpu_before = CpuSeconds();
  const LoadPlan plan = {.options = options,
                         .payloads = buffers,
                         .stubs = *stubs,
                         .check = check,
                         .window = WindowFromNow(options)};
  const int64_t first_ns =
      plan.window.begin_ns - absl::ToInt64Nanoseconds(options.warm_up);
  std::vector<std::unique_ptr<Lane>> lanes;
  std::vector<std::thread> threads;
  for (int i = 0; i < options.threads; ++i) {
    lanes.push_back(std::make_unique<Lane>(plan, static_cast<size_t>(i)));
    Lane* lane = lanes.back().get();
    if (!options.calls_per_s.has_value()) {
      const int share = ShareOf(options.concurrency, i, options.threads);
      threads.emplace_back([lane, share] { lane->RunClosed(share); });
      continue;
    }
    // Lanes start one after the other, each every threads-th call.
    const double rate = *options.calls_per_s;
    const Pacer pacer(
        rate / options.threads, first_ns + static_cast<int64_t>(i * 1e9 / rate),
        plan.window.end_ns,
        std::max(1, ShareOf(options.max_open, i, options.threads)));
    threads.emplace_back([lane, pacer] { lane->RunOpen(pacer); });
  }
  for (std::thread& thread : threads) thread.join();
  LoadReport report;
  report.cpu_seconds = CpuSeconds() - cpu_before;
  report.seconds = absl::ToDoubleSeconds(options.duration);
  for (const auto& lane : lanes) lane->AddTo(&report);
  return report;
}

}  // namespace lossd::cli
