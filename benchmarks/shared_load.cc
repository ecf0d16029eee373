// SPDX-License-Identifier: Apache-2.0
//
// Calls of ComputeGradient (cross_entropy in float32) whose logits and
// gradients are in shared memory: so many threads, each with memory of its own
// and one call at a time, or as many evaluations at a time over one stream; and
// how many ended in a second.

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "lossd/client.h"
#include "lossd/shared_memory.h"

namespace lossd {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::string address;  // of gRPC
  std::string memory;   // of shared memory
  int64_t rows = 32;
  int64_t classes = 32768;
  int in_flight = 2;
  bool stream = false;
  double seconds = 1;
  double warm_up = 0.3;
};

Clock::duration Seconds(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(seconds));
}

// A request with logits between -2 and 2 in `memory`.
absl::StatusOr<v1::ComputeGradientRequest> MakeRequest(const Options& options,
                                                       SharedMemory& memory) {
  auto logits = memory.Allocate<float>({options.rows, options.classes});
  if (!logits.ok()) return logits.status();
  auto gradient = memory.Allocate<float>({options.rows, options.classes});
  if (!gradient.ok()) return gradient.status();
  uint32_t state = 1;
  for (float& logit : logits->values()) {
    state = state * 1664525U + 1013904223U;
    logit = static_cast<float>(state >> 8) / (1 << 22) - 2;
  }
  std::vector<int64_t> labels(static_cast<size_t>(options.rows));
  for (size_t i = 0; i < labels.size(); ++i) {
    labels[i] = static_cast<int64_t>(i) * 997 % options.classes;
  }
  v1::ComputeGradientRequest request;
  auto& loss = *request.mutable_evaluation()->mutable_cross_entropy();
  *loss.mutable_input() = logits->ToTensor();
  *loss.mutable_target() = MakeTensor<int64_t>(labels, {options.rows});
  *request.add_gradient_memory() = gradient->place();
  return request;
}

// What ended between two points of time. Thread-safe.
class Counter {
 public:
  explicit Counter(const Options& options)
      : begin_(Clock::now() + Seconds(options.warm_up)),
        end_(begin_ + Seconds(options.seconds)) {}

  // Counts an answer; false if there shall be no more.
  bool Count(const absl::StatusOr<v1::ComputeGradientResponse>& answer) {
    const Clock::time_point now = Clock::now();
    if (!answer.ok()) {
      std::fprintf(stderr, "%s\n", answer.status().ToString().c_str());
      failed_ = true;
    } else if (now >= begin_ && now < end_) {
      ++calls_;
      computing_ns_ += answer->execution().computing().nanos();
    }
    return !failed_ && now < end_;
  }

  bool failed() const { return failed_; }
  int64_t calls() const { return calls_; }
  int64_t computing_ns() const { return computing_ns_; }

 private:
  const Clock::time_point begin_;
  const Clock::time_point end_;
  std::atomic<int64_t> calls_ = 0;
  std::atomic<int64_t> computing_ns_ = 0;  // as the server says
  std::atomic<bool> failed_ = false;
};

using Requests = std::vector<v1::ComputeGradientRequest>;

void Call(const Client& client, const Requests& requests, Counter* counter) {
  std::vector<std::thread> threads;
  for (const v1::ComputeGradientRequest& request : requests) {
    threads.emplace_back([&client, &request, counter] {
      while (counter->Count(client.ComputeGradient(request))) {
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

void Stream(const Client& client, const Requests& requests, Counter* counter) {
  const auto stream = client.StreamGradient();
  for (size_t i = 0; i < requests.size(); ++i) {
    stream->Send(static_cast<int64_t>(i), requests[i]);
  }
  while (stream->open() > 0) {
    const auto outcome = stream->Next();
    if (!outcome.ok()) {
      counter->Count(outcome.status());
      return;
    }
    if (!counter->Count(outcome->result)) continue;
    stream->Send(outcome->id, requests[static_cast<size_t>(outcome->id)]);
  }
}

// Prints what was measured.
absl::Status Run(const Options& options) {
  const int64_t bytes = 2 * options.in_flight *
                        (options.rows * options.classes + 64) *
                        static_cast<int64_t>(sizeof(float));
  auto memory = SharedMemory::Open(options.memory, bytes);
  if (!memory.ok()) return memory.status();
  Requests requests;
  for (int i = 0; i < options.in_flight; ++i) {
    auto request = MakeRequest(options, *memory);
    if (!request.ok()) return request.status();
    requests.push_back(*std::move(request));
  }
  const Client client(options.address);
  Counter counter(options);
  if (options.stream) {
    Stream(client, requests, &counter);
  } else {
    Call(client, requests, &counter);
  }
  if (counter.failed()) return absl::UnknownError("a call failed");
  const auto calls = static_cast<double>(counter.calls());
  std::printf("{\"calls_per_s\": %.1f, \"computing_us\": %.1f}\n",
              calls / options.seconds,
              static_cast<double>(counter.computing_ns()) / 1e3 / calls);
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("Loads ComputeGradient through shared memory");
  app.add_option("--address", options.address, "unix:PATH")->required();
  app.add_option("--memory", options.memory, "unix:PATH")->required();
  app.add_option("--rows", options.rows)->check(CLI::PositiveNumber);
  app.add_option("--classes", options.classes)->check(CLI::PositiveNumber);
  app.add_option("--in-flight", options.in_flight)->check(CLI::Range(1, 64));
  app.add_flag("--stream", options.stream, "Over one stream, not in calls");
  app.add_option("--seconds", options.seconds)->check(CLI::PositiveNumber);
  app.add_option("--warm-up", options.warm_up)->check(CLI::NonNegativeNumber);
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = Run(options);
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return 1;
}

}  // namespace
}  // namespace lossd

int main(int argc, char** argv) { return lossd::Main(argc, argv); }
