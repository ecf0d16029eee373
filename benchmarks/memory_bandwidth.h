// SPDX-License-Identifier: Apache-2.0
//
// How fast memory is read and written, for the kernels to be compared with.

#ifndef LOSSD_BENCHMARKS_MEMORY_BANDWIDTH_H_
#define LOSSD_BENCHMARKS_MEMORY_BANDWIDTH_H_

#include <cstdint>

#include "server/base/aligned_buffer.h"
#include "server/base/worker_pool.h"

namespace lossd {

// Two arrays of memory, and passes over them in the order of the address that
// some threads share: a part of 256 KiB at a time, as the kernels share a
// tensor. Not thread-safe.
class MemoryBandwidth {
 public:
  // `bytes` of each array, a multiple of 256 KiB, are written once.
  MemoryBandwidth(int64_t bytes, int threads);

  // Reads the first array.
  void Read();
  // Reads the first array and writes the second one past the caches, where the
  // CPU has such stores.
  void ReadAndWrite();

  int64_t bytes() const { return from_.size(); }

 private:
  AlignedBuffer from_;
  AlignedBuffer to_;
  WorkerPool pool_;
};

}  // namespace lossd

#endif  // LOSSD_BENCHMARKS_MEMORY_BANDWIDTH_H_
