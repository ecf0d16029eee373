// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_CLI_BENCH_LOAD_H_
#define LOSSD_CLIENT_CLI_BENCH_LOAD_H_

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/cli/bench/histogram.h"

// Loads a gRPC server with unary calls of raw bytes.

namespace lossd::cli {

struct LoadOptions {
  std::string server;  // a gRPC target, such as "127.0.0.1:50051"
  std::string method;  // "/PACKAGE.SERVICE/METHOD"
  // Closed loop, if there is no rate: this many calls are always open, and one
  // that ends is followed by another.
  int concurrency = 16;
  // Open loop: calls start at this rate, evenly spaced, however long they take.
  std::optional<double> calls_per_s;
  // Of the open loop: more are not open at a time; those due beyond it wait.
  int max_open = 4096;
  // Each a TCP connection of its own; the calls take them in turn.
  int connections = 1;
  // Each polls a completion queue; in the open loop another starts the calls.
  int threads = 1;
  // Not counted, at the beginning.
  absl::Duration warm_up = absl::Seconds(1);
  // Counted, after it.
  absl::Duration duration = absl::Seconds(10);
  // For a connection to come about, and after the end for the last calls to
  // end; what is open then is cancelled.
  absl::Duration timeout = absl::Seconds(60);
  int64_t max_message_bytes = int64_t{64} << 20;
  // Sends each message's size in lossd-request-bytes, as Client does.
  bool announce = false;
};

// What was counted. A closed loop counts the calls that ended in the
// `duration`; an open loop takes latencies and errors from the calls that
// should have started in it, and the rates from those that ended in it.
struct LoadReport {
  struct Failures {
    int64_t count = 0;
    std::string first_message;
  };

  double seconds = 0;  // the duration
  // Good calls that ended in it, and the bytes of their messages.
  int64_t calls = 0;
  int64_t request_bytes = 0;
  int64_t answer_bytes = 0;
  // Of good calls: in a closed loop from their start, in an open loop from when
  // they should have started.
  LatencyHistogram latency;
  // By the name of the status code, such as "UNAVAILABLE"; "WRONG_ANSWER" for
  // what AnswerCheck refused.
  std::map<std::string, Failures> errors;
  // Of the open loop: calls that were due and could not be started.
  int64_t not_started = 0;
  // All that ended, at any time, and what this process used of the processor
  // for them.
  int64_t all_calls = 0;
  double cpu_seconds = 0;

  int64_t ErrorCount() const;
};

// What is wrong with the answer to a payload; empty if nothing. Is called from
// all threads of the load.
using AnswerCheck =
    std::function<std::string(size_t payload, const grpc::ByteBuffer& answer)>;

// Sends each payload once, to see that the server takes it, then calls the
// server with the payloads (at least one) in turn, and blocks until every call
// has ended: warm_up + duration + timeout at the most. Nothing is repeated and
// no call has a deadline. Answers are not looked at, unless by `check`.
//
// UNAVAILABLE if a connection cannot be had within the timeout; the server's
// error, with its details, if it refuses a payload for good (INVALID_ARGUMENT,
// UNIMPLEMENTED and the like).
absl::StatusOr<LoadReport> RunLoad(const LoadOptions& options,
                                   absl::Span<const std::string> payloads,
                                   const AnswerCheck& check = nullptr);

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_BENCH_LOAD_H_
