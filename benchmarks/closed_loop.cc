// SPDX-License-Identifier: Apache-2.0

#include "benchmarks/closed_loop.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>

namespace lossd {
namespace {

using Clock = std::chrono::steady_clock;

// When calls count, and when no more begin.
struct Window {
  Clock::time_point begin;
  Clock::time_point end;
};

Clock::duration Seconds(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(seconds));
}

// Calls of one completion queue. Used by one thread.
class Loop {
 public:
  Loop(const LoadOptions& options,
       const std::vector<grpc::ByteBuffer>& payloads, const Window& window,
       std::atomic<size_t>* next_payload)
      : method_(options.method),
        payloads_(payloads),
        window_(window),
        next_payload_(*next_payload) {}

  void AddCall(grpc::GenericStub* stub) {
    calls_.push_back(std::make_unique<Call>());
    calls_.back()->stub = stub;
  }

  // Returns when the window has ended and every call with it.
  void Run() {
    size_t open = calls_.size();
    for (const std::unique_ptr<Call>& call : calls_) Start(call.get());
    void* tag = nullptr;
    bool ok = false;
    while (open > 0 && queue_.Next(&tag, &ok)) {
      auto* call = static_cast<Call*>(tag);
      const Clock::time_point now = Clock::now();
      ++counted_.all_calls;
      if (now >= window_.begin && now < window_.end) Record(*call, now);
      if (now < window_.end) {
        Start(call);
      } else {
        --open;
      }
    }
  }

  void AddTo(LoadReport* report) const {
    report->latencies_ns.insert(report->latencies_ns.end(),
                                counted_.latencies_ns.begin(),
                                counted_.latencies_ns.end());
    report->request_bytes += counted_.request_bytes;
    report->answer_bytes += counted_.answer_bytes;
    report->errors += counted_.errors;
    report->all_calls += counted_.all_calls;
    if (report->first_error.empty()) report->first_error = counted_.first_error;
  }

 private:
  struct Call {
    grpc::GenericStub* stub = nullptr;
    std::optional<grpc::ClientContext> context;
    std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader;
    grpc::ByteBuffer answer;
    grpc::Status status;
    size_t payload = 0;
    Clock::time_point start;
  };

  void Start(Call* call) {
    call->payload = next_payload_.fetch_add(1, std::memory_order_relaxed) %
                    payloads_.size();
    call->answer.Clear();
    call->reader.reset();
    call->context.emplace();
    call->start = Clock::now();
    call->reader = call->stub->PrepareUnaryCall(
        &*call->context, method_, payloads_[call->payload], &queue_);
    call->reader->StartCall();
    call->reader->Finish(&call->answer, &call->status, call);
  }

  void Record(const Call& call, Clock::time_point now) {
    if (!call.status.ok()) {
      ++counted_.errors;
      if (counted_.first_error.empty()) {
        counted_.first_error = call.status.error_message();
      }
      return;
    }
    counted_.latencies_ns.push_back(
        std::chrono::nanoseconds(now - call.start).count());
    counted_.request_bytes +=
        static_cast<int64_t>(payloads_[call.payload].Length());
    counted_.answer_bytes += static_cast<int64_t>(call.answer.Length());
  }

  const std::string method_;
  const std::vector<grpc::ByteBuffer>& payloads_;
  const Window window_;
  std::atomic<size_t>& next_payload_;
  grpc::CompletionQueue queue_;
  std::vector<std::unique_ptr<Call>> calls_;
  LoadReport counted_;
};

// A channel with a connection of its own.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(),
                                   arguments);
}

std::vector<grpc::ByteBuffer> ToBuffers(
    const std::vector<std::string>& payloads) {
  std::vector<grpc::ByteBuffer> buffers;
  for (const std::string& payload : payloads) {
    const grpc::Slice slice(payload);
    buffers.emplace_back(&slice, 1);
  }
  return buffers;
}

}  // namespace

LoadReport RunClosedLoop(const LoadOptions& options,
                         const std::vector<std::string>& payloads) {
  const std::vector<grpc::ByteBuffer> buffers = ToBuffers(payloads);
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs;
  for (int i = 0; i < options.channels; ++i) {
    auto channel = MakeChannel(options.address);
    channel->WaitForConnected(std::chrono::system_clock::now() +
                              std::chrono::seconds(10));
    stubs.push_back(std::make_unique<grpc::GenericStub>(channel));
  }
  Window window;
  window.begin = Clock::now() + Seconds(options.warm_up_seconds);
  window.end = window.begin + Seconds(options.seconds);
  std::atomic<size_t> next_payload = 0;
  std::vector<std::unique_ptr<Loop>> loops;
  for (int i = 0; i < options.threads; ++i) {
    loops.push_back(
        std::make_unique<Loop>(options, buffers, window, &next_payload));
  }
  for (int i = 0; i < options.in_flight; ++i) {
    loops[i % loops.size()]->AddCall(stubs[i % stubs.size()].get());
  }
  std::vector<std::thread> threads;
  for (const auto& loop : loops) {
    threads.emplace_back([&loop] { loop->Run(); });
  }
  for (std::thread& thread : threads) thread.join();
  LoadReport report;
  report.seconds = options.seconds;
  for (const auto& loop : loops) loop->AddTo(&report);
  std::sort(report.latencies_ns.begin(), report.latencies_ns.end());
  return report;
}

}  // namespace lossd
