// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_BENCHMARKS_CLOSED_LOOP_H_
#define LOSSD_BENCHMARKS_CLOSED_LOOP_H_

#include <cstdint>
#include <string>
#include <vector>

namespace lossd {

struct LoadOptions {
  std::string address;  // a gRPC target, such as "127.0.0.1:50051"
  std::string method;   // such as "/lossd.v1.LossService/ComputeGradient"
  int in_flight = 16;   // calls at any time, at least 1
  int channels = 1;     // connections, which share the calls evenly
  int threads = 1;      // completion queues, each polled by a thread
  double warm_up_seconds = 0.3;
  double seconds = 2;
};

// What was counted between the end of the warm-up and the end of the load.
struct LoadReport {
  double seconds = 0;                 // how long that was
  std::vector<int64_t> latencies_ns;  // of each good call, ascending
  int64_t request_bytes = 0;          // of the good calls
  int64_t answer_bytes = 0;
  int64_t errors = 0;
  int64_t all_calls = 0;  // at any time, the warm-up included
  std::string first_error;
};

// Calls `method` in a closed loop: `in_flight` calls are always on their way,
// and each that ends is followed by another, with the payloads in turn. The
// payloads are sent as they are and the answers are only measured. Blocks until
// every call has ended.
LoadReport RunClosedLoop(const LoadOptions& options,
                         const std::vector<std::string>& payloads);

}  // namespace lossd

#endif  // LOSSD_BENCHMARKS_CLOSED_LOOP_H_
