// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_BATCHING_BYTE_BUDGET_H_
#define LOSSD_SERVER_BATCHING_BYTE_BUDGET_H_

#include <atomic>
#include <cstdint>

namespace lossd {

// Bytes that are granted before they are read, and returned when nobody holds
// them any more. Thread-safe.
class ByteBudget {
 public:
  explicit ByteBudget(int64_t max_bytes) : max_bytes_(max_bytes) {}

  // Grants `bytes`, at least 0, if no more than the most are then out, or if
  // nothing is: whoever comes alone is always let in.
  bool TryTake(int64_t bytes) {
    int64_t taken = taken_.load(std::memory_order_relaxed);
    do {
      if (taken > 0 && bytes > max_bytes_ - taken) return false;
    } while (!taken_.compare_exchange_weak(taken, taken + bytes,
                                           std::memory_order_relaxed));
    return true;
  }
  void Return(int64_t bytes) {
    taken_.fetch_sub(bytes, std::memory_order_relaxed);
  }

  int64_t taken() const { return taken_.load(std::memory_order_relaxed); }
  int64_t max_bytes() const { return max_bytes_; }

 private:
  const int64_t max_bytes_;
  std::atomic<int64_t> taken_ = 0;
};

// What one holder has of a budget. Not thread-safe.
class ByteGrant {
 public:
  explicit ByteGrant(ByteBudget* budget) : budget_(*budget) {}
  ~ByteGrant() { budget_.Return(bytes_); }

  ByteGrant(const ByteGrant&) = delete;
  ByteGrant& operator=(const ByteGrant&) = delete;

  // Raises the grant to `bytes`; false, and nothing changes, if they are not
  // granted.
  bool RaiseTo(int64_t bytes) {
    if (bytes <= bytes_) return true;
    if (!budget_.TryTake(bytes - bytes_)) return false;
    bytes_ = bytes;
    return true;
  }

 private:
  ByteBudget& budget_;
  int64_t bytes_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_BATCHING_BYTE_BUDGET_H_
