// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_IDLE_MEMORY_H_
#define LOSSD_SERVER_RPC_IDLE_MEMORY_H_

#include <cstdint>

#include "absl/time/time.h"
#include "server/base/buffer_pool.h"

namespace lossd {

// Gives memory that a load has left behind back to the system. Used by one
// thread.
class IdleMemory {
 public:
  // How often Tick() is to be called: after twice this time without work, all
  // that can be given back has been.
  static constexpr absl::Duration kInterval = absl::Seconds(5);

  // `pool` is borrowed.
  explicit IdleMemory(BufferPool* pool) : pool_(*pool) {}

  // Buffers that were idle since the last tick leave the pool. The heap is
  // trimmed, which takes milliseconds, at the first tick at which `activity`, a
  // number that grows with the work done, is what it was at the last one.
  void Tick(int64_t activity);

  // How often the heap was trimmed.
  int64_t trims() const { return trims_; }

 private:
  BufferPool& pool_;
  int64_t last_activity_ = 0;
  bool trimmed_ = true;
  int64_t trims_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_IDLE_MEMORY_H_
