// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_BASE_ALIGNED_BUFFER_H_
#define LOSSD_SERVER_BASE_ALIGNED_BUFFER_H_

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>

namespace lossd {

// Takes memory back; see BufferPool.
class BufferOwner {
 public:
  virtual ~BufferOwner() = default;
  // `p` was handed out for `bytes`. Thread-safe.
  virtual void TakeBack(uint8_t* p, int64_t bytes) = 0;
};

// Gives memory to whom it belongs: the owner, or the heap.
struct BufferRelease {
  BufferRelease() = default;
  BufferRelease(int64_t bytes, std::shared_ptr<BufferOwner> owner)
      : bytes(bytes), owner(std::move(owner)) {}
  void operator()(uint8_t* p) const {
    if (owner != nullptr) {
      owner->TakeBack(p, bytes);
    } else {
      std::free(p);
    }
  }
  int64_t bytes = 0;
  std::shared_ptr<BufferOwner> owner;
};

// Owned memory, aligned to 64 bytes and not initialised: whoever allocates it
// writes every byte that is read. Movable, not copyable, not thread-safe.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  // From the heap.
  explicit AlignedBuffer(int64_t bytes)
      : data_(bytes == 0 ? nullptr : FromHeap(bytes)), size_(bytes) {}
  // Memory that `owner` takes back.
  AlignedBuffer(uint8_t* data, int64_t bytes,
                std::shared_ptr<BufferOwner> owner)
      : data_(data, BufferRelease(bytes, std::move(owner))), size_(bytes) {}

  uint8_t* data() { return data_.get(); }
  const uint8_t* data() const { return data_.get(); }
  int64_t size() const { return size_; }

  // At least `bytes` of memory from the heap. Ends the process if there is
  // none.
  static uint8_t* FromHeap(int64_t bytes) {
    const size_t rounded = (static_cast<size_t>(bytes) + 63) & ~size_t{63};
    void* p = std::aligned_alloc(64, rounded);
    if (p == nullptr) std::abort();
    return static_cast<uint8_t*>(p);
  }

 private:
  std::unique_ptr<uint8_t, BufferRelease> data_;
  int64_t size_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_BASE_ALIGNED_BUFFER_H_
