// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_CLI_BENCH_OPTIONS_H_
#define LOSSD_CLIENT_CLI_BENCH_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cli/bench/load.h"

namespace CLI {
class App;
}  // namespace CLI

namespace lossd::cli {

// What only `lossctl bench` has, as it is written.
struct BenchOptions {
  // Of the first tensor, such as "32x1000"; of several each in turn.
  std::vector<std::string> shapes = {};
  std::optional<int64_t> classes = std::nullopt;
  // How many different requests of each loss and shape.
  int64_t payloads = 4;
  uint64_t seed = 1;
  std::string method = "gradient";
  std::optional<int64_t> concurrency = std::nullopt;
  std::optional<double> rate = std::nullopt;
  int64_t max_open = 4096;
  int64_t connections = 1;
  int64_t threads = 1;
  std::string duration = "10";
  std::string warm_up = "1";
  bool check = false;
  bool announce = false;
  // Instead of a loss: files whose bytes are sent as they are.
  std::vector<std::string> payload_files = {};
  // Instead of that of `method`, "/PACKAGE.SERVICE/METHOD".
  std::string call = {};
  // Write each request to a file of this folder, and call nothing.
  std::string save_payloads = {};
};

// Declares the flags of `command`, which fill `options`.
void AddBenchFlags(CLI::App& command, BenchOptions& options);

// Reads "10", "1.5s" or "2m"; INVALID_ARGUMENT, naming `flag`, for anything
// else.
absl::StatusOr<absl::Duration> ParseSeconds(absl::string_view flag,
                                            const std::string& text);

// The load that `options` ask for, without server, timeout and message size.
// INVALID_ARGUMENT names the flag, its value, what is allowed, and what to do.
// `loss` is the LOSS of the command line, which may be empty.
absl::StatusOr<LoadOptions> ToLoad(const BenchOptions& options,
                                   const std::string& loss);

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_BENCH_OPTIONS_H_
