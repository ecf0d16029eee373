// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/shared_regions.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace lossd {
namespace {

constexpr int64_t kPageBytes = 4096;

absl::Status Refused(absl::string_view call) {
  return absl::InternalError(absl::StrCat(call, ": ", std::strerror(errno)));
}

absl::string_view ViewOf(const RegionToken& token) {
  return {reinterpret_cast<const char*>(token.data()), token.size()};
}

}  // namespace

// Bytes of regions that exist, of at most so many.
struct SharedRegion::Quota {
  const int64_t max_bytes;
  std::atomic<int64_t> used_bytes = 0;

  bool TryTake(int64_t bytes) {
    int64_t used = used_bytes.load();
    do {
      if (bytes > max_bytes - used) return false;
    } while (!used_bytes.compare_exchange_weak(used, used + bytes));
    return true;
  }
};

SharedRegion::~SharedRegion() {
  if (data_ != nullptr) munmap(data_, static_cast<size_t>(size_));
  if (descriptor_ >= 0) {
    fallocate(descriptor_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
              size_);
    close(descriptor_);
  }
  quota_->used_bytes.fetch_sub(size_);
}

SharedRegions::SharedRegions(int64_t max_bytes)
    : quota_(new SharedRegion::Quota{max_bytes}) {}

absl::StatusOr<std::shared_ptr<SharedRegion>> SharedRegions::Make(
    int64_t bytes) {
  if (bytes < 1 || bytes > quota_->max_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a region has 1 to ", quota_->max_bytes, " bytes"));
  }
  const int64_t size = (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  if (!quota_->TryTake(size)) {
    return absl::ResourceExhaustedError(absl::StrCat(quota_->used_bytes.load(),
                                                     " of ", quota_->max_bytes,
                                                     " bytes are handed out"));
  }
  const std::shared_ptr<SharedRegion> region(new SharedRegion(quota_, size));
  region->descriptor_ =
      memfd_create("lossd region", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (region->descriptor_ < 0) return Refused("memfd_create");
  if (ftruncate(region->descriptor_, size) != 0) return Refused("ftruncate");
  // Nobody can cut the memory off under a kernel that reads it.
  if (fcntl(region->descriptor_, F_ADD_SEALS,
            F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return Refused("fcntl F_ADD_SEALS");
  }
  void* data = mmap(nullptr, static_cast<size_t>(size), PROT_READ | PROT_WRITE,
                    MAP_SHARED, region->descriptor_, 0);
  if (data == MAP_FAILED) return Refused("mmap");
  region->data_ = static_cast<uint8_t*>(data);
  // Faster where the system has them, and no matter where not.
  madvise(data, static_cast<size_t>(size), MADV_HUGEPAGE);
  madvise(data, static_cast<size_t>(size), MADV_DONTDUMP);
  RegionToken& token = region->token_;
  if (getrandom(token.data(), token.size(), 0) !=
      static_cast<ssize_t>(token.size())) {
    return Refused("getrandom");
  }
  absl::MutexLock lock(&mutex_);
  by_token_[ViewOf(token)] = region;
  return region;
}

void SharedRegions::Forget(const SharedRegion& region) {
  std::shared_ptr<SharedRegion> last;  // goes when the lock is open
  absl::MutexLock lock(&mutex_);
  const auto found = by_token_.find(ViewOf(region.token()));
  if (found == by_token_.end()) return;
  last = std::move(found->second);
  by_token_.erase(found);
}

std::shared_ptr<SharedRegion> SharedRegions::Find(
    absl::string_view token) const {
  absl::MutexLock lock(&mutex_);
  const auto found = by_token_.find(token);
  return found == by_token_.end() ? nullptr : found->second;
}

int64_t SharedRegions::used_bytes() const { return quota_->used_bytes.load(); }

int64_t SharedRegions::max_bytes() const { return quota_->max_bytes; }

}  // namespace lossd
