// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_BASE_BUFFER_POOL_H_
#define LOSSD_SERVER_BASE_BUFFER_POOL_H_

#include <cstdint>
#include <memory>

#include "server/base/aligned_buffer.h"

namespace lossd {

// Is told of the mappings of a pool, such as to lock them in memory for a
// device that copies by itself. Thread-safe.
class MappingObserver {
 public:
  virtual ~MappingObserver() = default;
  // These are there from now on.
  virtual void OnMap(uint8_t* data, int64_t bytes) = 0;
  // These are about to go; false if they must stay, for good.
  virtual bool OnUnmap(uint8_t* data) = 0;
};

// Keeps the memory of large buffers between uses, because the first touch of
// fresh memory costs several times what a kernel needs to fill it.
//
// Sizes are rounded up to one of eight steps for each power of two, so that at
// most an eighth is wasted, and a buffer is used again for its own step only.
// Buffers of kMappedBytes or more are mappings of their own, of huge pages
// where the system has them, and are given back to it as soon as the pool lets
// go of them.
//
// Where NDEBUG is not defined, and under AddressSanitizer, what comes back is
// overwritten, so that one caller's bytes never look like another's.
//
// Thread-safe. A buffer can outlive the pool.
class BufferPool {
 public:
  // Smaller buffers come from the heap, and return there.
  static constexpr int64_t kPooledBytes = 4096;
  static constexpr int64_t kMappedBytes = int64_t{256} << 10;

  struct Stats {
    int64_t used_bytes = 0;  // in buffers that are out
    int64_t idle_bytes = 0;  // in those that wait for their next use
    // How many buffers were made, by the heap or the system.
    int64_t made = 0;
  };

  // Keeps at most `max_idle_bytes` of idle buffers. `observer`, if there is
  // one, lives as long as the last buffer.
  explicit BufferPool(int64_t max_idle_bytes,
                      std::shared_ptr<MappingObserver> observer = nullptr);
  ~BufferPool();

  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // A buffer of exactly that size, not initialised. Ends the process if there
  // is no memory.
  AlignedBuffer Allocate(int64_t bytes);

  // Lets go of every buffer that was idle all the time since the last Trim().
  void Trim();

  Stats GetStats() const;

 private:
  class Shelves;
  const std::shared_ptr<Shelves> shelves_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_BASE_BUFFER_POOL_H_
