// SPDX-License-Identifier: Apache-2.0
//
// Loads a gRPC server with unary calls and prints, as JSON, how many ended and
// how long they took.

#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "benchmarks/closed_loop.h"
#include "benchmarks/loss_case.h"
#include "benchmarks/request_bytes.h"
#include "server/base/status_macros.h"
#include "server/losses/loss.h"
#include "server/rpc/process_setup.h"

namespace lossd {
namespace {

// Adds the requests of "LOSS:SHAPE", where LOSS may be "all".
absl::Status AddCase(const std::string& text,
                     std::vector<std::string>* payloads) {
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  const std::optional<Shape> shape =
      parts.size() == 2 ? ParseShape(parts[1]) : std::nullopt;
  if (!shape.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat(text, " is not LOSS:SHAPE, as in cross_entropy:4x10"));
  }
  bool found = false;
  for (const LossDefinition* loss : AllLosses()) {
    if (parts[0] != "all" && parts[0] != loss->schema.name) continue;
    found = true;
    LOSSD_ASSIGN_OR_RETURN(std::string bytes, RequestBytes(*loss, *shape));
    payloads->push_back(std::move(bytes));
  }
  if (found) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("no loss is named ", parts[0]));
}

// The value that a share of the calls was not slower than.
double Quantile(const std::vector<int64_t>& sorted_ns, double share) {
  if (sorted_ns.empty()) return 0;
  const double rank = std::ceil(share * static_cast<double>(sorted_ns.size()));
  const size_t index = rank < 1 ? 0 : static_cast<size_t>(rank) - 1;
  return static_cast<double>(sorted_ns[index]) / 1000;
}

std::string ToJson(const LoadReport& report) {
  const auto calls = static_cast<double>(report.latencies_ns.size());
  const auto per_call = [&](int64_t bytes) {
    return calls == 0 ? 0 : static_cast<double>(bytes) / calls;
  };
  const nlohmann::ordered_json json = {
      {"calls", report.latencies_ns.size()},
      {"seconds", report.seconds},
      {"calls_per_s", calls / report.seconds},
      {"p50_us", Quantile(report.latencies_ns, 0.5)},
      {"p90_us", Quantile(report.latencies_ns, 0.9)},
      {"p99_us", Quantile(report.latencies_ns, 0.99)},
      {"max_us", Quantile(report.latencies_ns, 1)},
      {"request_bytes", per_call(report.request_bytes)},
      {"answer_bytes", per_call(report.answer_bytes)},
      {"all_calls", report.all_calls},
      {"errors", report.errors},
      {"first_error", report.first_error},
      {"grpc", grpc::Version()},
      {"compiler", absl::StrCat("g++ ", __VERSION__)},
  };
  return json.dump();
}

int Main(int argc, char** argv) {
  // As lossd does: no process compared is faster by its allocator.
  KeepMessageMemory();
  LoadOptions options;
  std::vector<std::string> cases;
  int payload_bytes = 0;
  CLI::App app("Loads a gRPC server with unary calls");
  app.add_option("--address", options.address, "HOST:PORT")->required();
  app.add_option("--method", options.method, "/PACKAGE.SERVICE/METHOD")
      ->required();
  app.add_option("--case", cases,
                 "LOSS:SHAPE of a ComputeGradientRequest; all:SHAPE for every "
                 "loss; of several each in turn");
  app.add_option("--payload-bytes", payload_bytes,
                 "Sends this many zeros instead")
      ->check(CLI::PositiveNumber);
  app.add_option("--in-flight", options.in_flight)->check(CLI::Range(1, 4096));
  app.add_option("--channels", options.channels)->check(CLI::Range(1, 4096));
  app.add_option("--threads", options.threads)->check(CLI::Range(1, 256));
  app.add_option("--seconds", options.seconds)->check(CLI::PositiveNumber);
  app.add_option("--warm-up", options.warm_up_seconds, "Seconds")
      ->check(CLI::NonNegativeNumber);
  CLI11_PARSE(app, argc, argv);

  std::vector<std::string> payloads;
  if (payload_bytes > 0) {
    payloads.emplace_back(static_cast<size_t>(payload_bytes), '\0');
  }
  for (const std::string& text : cases) {
    const absl::Status status = AddCase(text, &payloads);
    if (!status.ok()) {
      std::fprintf(stderr, "load: %s\n", std::string(status.message()).c_str());
      return 2;
    }
  }
  if (payloads.empty()) {
    std::fputs("load: give --case or --payload-bytes\n", stderr);
    return 2;
  }
  std::puts(ToJson(RunClosedLoop(options, payloads)).c_str());
  return 0;
}

}  // namespace
}  // namespace lossd

int main(int argc, char** argv) { return lossd::Main(argc, argv); }
