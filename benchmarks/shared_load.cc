// SPDX-License-Identifier: Apache-2.0
//
// Calls of ComputeGradient (cross_entropy in float32) whose logits and
// gradients are in shared memory: so many threads, each with memory of its own
// and one call at a time, and how many calls ended in a second.

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

struct Counted {
  std::atomic<int64_t> calls = 0;
  std::atomic<int64_t> computing_ns = 0;  // as the server says
  std::atomic<bool> failed = false;
};

void Load(const Client& client, const v1::ComputeGradientRequest& request,
          Clock::time_point begin, Clock::time_point end, Counted* counted) {
  while (!counted->failed) {
    const auto answer = client.ComputeGradient(request);
    const Clock::time_point now = Clock::now();
    if (!answer.ok()) {
      std::fprintf(stderr, "%s\n", answer.status().ToString().c_str());
      counted->failed = true;
    } else if (now >= end) {
      return;
    } else if (now >= begin) {
      ++counted->calls;
      counted->computing_ns += answer->execution().computing().nanos();
    }
  }
}

// Prints what was measured.
absl::Status Run(const Options& options) {
  const int64_t bytes = 2 * options.in_flight *
                        (options.rows * options.classes + 64) *
                        static_cast<int64_t>(sizeof(float));
  auto memory = SharedMemory::Open(options.memory, bytes);
  if (!memory.ok()) return memory.status();
  std::vector<v1::ComputeGradientRequest> requests;
  for (int i = 0; i < options.in_flight; ++i) {
    auto request = MakeRequest(options, *memory);
    if (!request.ok()) return request.status();
    requests.push_back(*std::move(request));
  }
  const Client client(options.address);
  Counted counted;
  const Clock::time_point begin = Clock::now() + Seconds(options.warm_up);
  const Clock::time_point end = begin + Seconds(options.seconds);
  std::vector<std::thread> threads;
  for (const v1::ComputeGradientRequest& request : requests) {
    threads.emplace_back([&] { Load(client, request, begin, end, &counted); });
  }
  for (std::thread& thread : threads) thread.join();
  if (counted.failed) return absl::UnknownError("a call failed");
  const auto calls = static_cast<double>(counted.calls);
  std::printf("{\"calls_per_s\": %.1f, \"computing_us\": %.1f}\n",
              calls / options.seconds,
              static_cast<double>(counted.computing_ns) / 1e3 / calls);
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
