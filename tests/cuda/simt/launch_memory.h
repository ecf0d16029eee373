// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_TESTS_CUDA_SIMT_LAUNCH_MEMORY_H_
#define LOSSD_TESTS_CUDA_SIMT_LAUNCH_MEMORY_H_

#include <cstdint>
#include <map>
#include <vector>

#include "absl/status/status.h"
#include "server/kernels/cuda/device.h"

namespace lossd::simt {

// A stretch of a device's memory.
struct Stretch {
  uint8_t* begin = nullptr;
  int64_t bytes = 0;
  bool is_written = false;  // before the launch
};

// All that the kernel of a launch may touch, as its jobs' descriptors say:
// descriptors, tensors, findings, sums, outputs and scratch. `tensors` that
// hold the elements of a part are as long as the part.
std::vector<Stretch> MemoryOf(const cuda::Launch& launch);

// While it lives, AddressSanitizer ends the process at any access to `memory`
// (sizes by begin) beyond what the launch owns, to the byte; what the launch
// has still to write is poison. Without AddressSanitizer that is all it does.
// Not thread-safe.
class LaunchMemory {
 public:
  // INTERNAL if the launch claims what is not of `memory`, or something twice.
  static absl::Status Check(const std::map<uint8_t*, int64_t>& memory,
                            const cuda::Launch& launch);

  LaunchMemory(const std::map<uint8_t*, int64_t>& memory,
               const cuda::Launch& launch);
  ~LaunchMemory();
  LaunchMemory(const LaunchMemory&) = delete;
  LaunchMemory& operator=(const LaunchMemory&) = delete;

  // Whether this build has AddressSanitizer in its kernels.
  static bool IsWatched();

 private:
  const std::map<uint8_t*, int64_t>& memory_;
};

}  // namespace lossd::simt

#endif  // LOSSD_TESTS_CUDA_SIMT_LAUNCH_MEMORY_H_
