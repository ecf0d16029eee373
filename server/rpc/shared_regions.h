// SPDX-License-Identifier: Apache-2.0
//
// Memory that the server shares with callers on its machine.

#ifndef LOSSD_SERVER_RPC_SHARED_REGIONS_H_
#define LOSSD_SERVER_RPC_SHARED_REGIONS_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "server/base/aligned_buffer.h"

namespace lossd {

// Names a region; nobody can guess it.
using RegionToken = std::array<uint8_t, 16>;

// One region: memory that the server made, that a client can map, and whose
// size neither can change. Whoever holds it can read and write all of it at any
// time, and so can the client: what is read twice can differ. Thread-safe.
class SharedRegion final : public BufferOwner {
 public:
  // Gives the memory back to the system, whether or not the client still has it
  // mapped: the client then sees zeros.
  ~SharedRegion() override;
  SharedRegion(const SharedRegion&) = delete;
  SharedRegion& operator=(const SharedRegion&) = delete;

  uint8_t* data() const { return data_; }
  int64_t size() const { return size_; }
  int descriptor() const { return descriptor_; }
  const RegionToken& token() const { return token_; }

  // What a part of the region is to an AlignedBuffer: the region takes nothing
  // back, it only stays.
  void TakeBack(uint8_t*, int64_t) override {}

 private:
  friend class SharedRegions;
  struct Quota;
  SharedRegion(std::shared_ptr<Quota> quota, int64_t size)
      : quota_(std::move(quota)), size_(size) {}

  const std::shared_ptr<Quota> quota_;
  const int64_t size_;
  int descriptor_ = -1;
  uint8_t* data_ = nullptr;
  RegionToken token_ = {};
};

// The regions that are handed out. Thread-safe.
class SharedRegions {
 public:
  // All regions together have at most `max_bytes`, as long as anybody in this
  // process holds them.
  explicit SharedRegions(int64_t max_bytes);

  SharedRegions(const SharedRegions&) = delete;
  SharedRegions& operator=(const SharedRegions&) = delete;

  // A new region of zeros, of at least `bytes`, at least 1: whole pages. Costs
  // memory only where it is written. RESOURCE_EXHAUSTED if there would be too
  // much of it, INTERNAL if the system refuses.
  absl::StatusOr<std::shared_ptr<SharedRegion>> Make(int64_t bytes);

  // From now on Find() does not find it.
  void Forget(const SharedRegion& region);

  // The region that `token` names, or null.
  std::shared_ptr<SharedRegion> Find(absl::string_view token) const;

  int64_t used_bytes() const;
  int64_t max_bytes() const;

 private:
  const std::shared_ptr<SharedRegion::Quota> quota_;
  mutable absl::Mutex mutex_;
  absl::flat_hash_map<std::string, std::shared_ptr<SharedRegion>> by_token_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_SHARED_REGIONS_H_
