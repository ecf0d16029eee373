// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_BASE_ALIGNED_BUFFER_H_
#define LOSSD_SERVER_BASE_ALIGNED_BUFFER_H_

#include <cstdint>
#include <cstdlib>
#include <memory>

namespace lossd {

// Owned memory, aligned to 64 bytes and not initialised: whoever allocates it
// writes every byte that is read. Movable, not copyable, not thread-safe.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(int64_t bytes)
      : data_(bytes == 0 ? nullptr : Allocate(bytes)), size_(bytes) {}

  uint8_t* data() { return data_.get(); }
  const uint8_t* data() const { return data_.get(); }
  int64_t size() const { return size_; }

 private:
  struct Free {
    void operator()(uint8_t* p) const { std::free(p); }
  };
  static uint8_t* Allocate(int64_t bytes) {
    const size_t rounded = (static_cast<size_t>(bytes) + 63) & ~size_t{63};
    void* p = std::aligned_alloc(64, rounded);
    if (p == nullptr) std::abort();
    return static_cast<uint8_t*>(p);
  }
  std::unique_ptr<uint8_t, Free> data_;
  int64_t size_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_BASE_ALIGNED_BUFFER_H_
