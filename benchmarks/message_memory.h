// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_BENCHMARKS_MESSAGE_MEMORY_H_
#define LOSSD_BENCHMARKS_MESSAGE_MEMORY_H_

#include <malloc.h>

namespace lossd {

// Keeps the memory of messages between calls, with the thresholds that lossd
// sets for itself, so that none of the processes compared is faster by its
// allocator. Call it first in main().
inline void KeepMessageMemory() {
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  mallopt(M_ARENA_MAX, 4);
}

}  // namespace lossd

#endif  // LOSSD_BENCHMARKS_MESSAGE_MEMORY_H_
