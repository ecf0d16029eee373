// SPDX-License-Identifier: Apache-2.0

#include "server/base/buffer_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, bytes)
#define ASAN_UNPOISON_MEMORY_REGION(p, bytes)
#endif

namespace lossd {
namespace {

constexpr int64_t kHugePage = int64_t{2} << 20;
constexpr int kStepsPerOctave = 8;
constexpr int kShelves = 64 * kStepsPerOctave;

#if defined(NDEBUG) && !defined(__SANITIZE_ADDRESS__)
constexpr bool kOverwrites = false;
#else
constexpr bool kOverwrites = true;
#endif

// The step of a size, and the bytes of a buffer of that step.
struct Step {
  int index;
  int64_t bytes;
};

Step StepOf(int64_t bytes) {
  const auto n = static_cast<uint64_t>(bytes);
  const int octave = std::bit_width(n - 1) - 1;  // 2^octave < n <= 2^(octave+1)
  const uint64_t unit = (uint64_t{1} << octave) / kStepsPerOctave;
  const uint64_t above = n - (uint64_t{1} << octave);  // 1 to 2^octave
  const uint64_t steps = (above + unit - 1) / unit;    // 1 to kStepsPerOctave
  return {octave * kStepsPerOctave + static_cast<int>(steps) - 1,
          static_cast<int64_t>((uint64_t{1} << octave) + steps * unit)};
}

// A mapping of whole huge pages begins at one, or the system could not use it.
uint8_t* Map(int64_t bytes) {
  const bool huge = bytes >= kHugePage;
  const auto wanted = static_cast<size_t>(bytes);
  const size_t size = wanted + (huge ? size_t{kHugePage} : 0);
  void* p = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) std::abort();
  if (!huge) return static_cast<uint8_t*>(p);
  auto* begin = static_cast<uint8_t*>(p);
  const size_t before =
      -reinterpret_cast<uintptr_t>(begin) & (size_t{kHugePage} - 1);
  if (before > 0) munmap(begin, before);
  munmap(begin + before + wanted, size - before - wanted);
  // Without huge pages it is only slower.
  madvise(begin + before, wanted, MADV_HUGEPAGE);
  return begin + before;
}

}  // namespace

// The idle buffers of each step, the last one back first.
class BufferPool::Shelves final : public BufferOwner {
 public:
  Shelves(int64_t max_idle_bytes, std::shared_ptr<MappingObserver> observer)
      : max_idle_bytes_(max_idle_bytes), observer_(std::move(observer)) {}
  ~Shelves() override {
    absl::MutexLock lock(&mutex_);
    for (int index = 0; index < kShelves; ++index) {
      for (uint8_t* p : shelves_[index].idle) Destroy(p, shelves_[index].bytes);
    }
  }

  uint8_t* Take(int64_t bytes) {
    const Step step = StepOf(bytes);
    {
      absl::MutexLock lock(&mutex_);
      stats_.used_bytes += step.bytes;
      Shelf& shelf = shelves_[step.index];
      if (!shelf.idle.empty()) {
        uint8_t* p = shelf.idle.back();
        shelf.idle.pop_back();
        shelf.unused = std::min(shelf.unused, shelf.idle.size());
        stats_.idle_bytes -= step.bytes;
        ASAN_UNPOISON_MEMORY_REGION(p, static_cast<size_t>(step.bytes));
        return p;
      }
      ++stats_.made;
    }
    return Make(step.bytes);
  }

  void TakeBack(uint8_t* p, int64_t bytes) override {
    const Step step = StepOf(bytes);
    if (kOverwrites) std::memset(p, 0xa5, static_cast<size_t>(step.bytes));
    {
      absl::MutexLock lock(&mutex_);
      stats_.used_bytes -= step.bytes;
      if (stats_.idle_bytes + step.bytes <= max_idle_bytes_) {
        ASAN_POISON_MEMORY_REGION(p, static_cast<size_t>(step.bytes));
        stats_.idle_bytes += step.bytes;
        shelves_[step.index].bytes = step.bytes;
        shelves_[step.index].idle.push_back(p);
        return;
      }
    }
    Destroy(p, step.bytes);
  }

  void Trim() {
    std::vector<std::pair<uint8_t*, int64_t>> unused;
    {
      absl::MutexLock lock(&mutex_);
      for (Shelf& shelf : shelves_) {
        // Buffers are taken from the end, so those of the beginning were idle.
        for (size_t i = 0; i < shelf.unused; ++i) {
          unused.emplace_back(shelf.idle[i], shelf.bytes);
          stats_.idle_bytes -= shelf.bytes;
        }
        shelf.idle.erase(
            shelf.idle.begin(),
            shelf.idle.begin() + static_cast<ptrdiff_t>(shelf.unused));
        shelf.unused = shelf.idle.size();
      }
    }
    for (const auto& [p, bytes] : unused) Destroy(p, bytes);
  }

  Stats GetStats() const {
    absl::MutexLock lock(&mutex_);
    return stats_;
  }

 private:
  struct Shelf {
    int64_t bytes = 0;
    std::vector<uint8_t*> idle;
    size_t unused = 0;  // the least that were idle since the last Trim
  };

  uint8_t* Make(int64_t bytes) {
    if (bytes < kMappedBytes) return AlignedBuffer::FromHeap(bytes);
    uint8_t* p = Map(bytes);
    if (observer_ != nullptr) observer_->OnMap(p, bytes);
    return p;
  }

  void Destroy(uint8_t* p, int64_t bytes) {
    ASAN_UNPOISON_MEMORY_REGION(p, static_cast<size_t>(bytes));
    if (bytes < kMappedBytes) {
      std::free(p);
      return;
    }
    if (observer_ != nullptr && !observer_->OnUnmap(p)) return;
    munmap(p, static_cast<size_t>(bytes));
  }

  const int64_t max_idle_bytes_;
  const std::shared_ptr<MappingObserver> observer_;
  mutable absl::Mutex mutex_;
  std::array<Shelf, kShelves> shelves_ ABSL_GUARDED_BY(mutex_);
  Stats stats_ ABSL_GUARDED_BY(mutex_);
};

BufferPool::BufferPool(int64_t max_idle_bytes,
                       std::shared_ptr<MappingObserver> observer)
    : shelves_(std::make_shared<Shelves>(max_idle_bytes, std::move(observer))) {
}

BufferPool::~BufferPool() = default;

AlignedBuffer BufferPool::Allocate(int64_t bytes) {
  if (bytes < kPooledBytes) return AlignedBuffer(bytes);
  return AlignedBuffer(shelves_->Take(bytes), bytes, shelves_);
}

void BufferPool::Trim() { shelves_->Trim(); }

BufferPool::Stats BufferPool::GetStats() const { return shelves_->GetStats(); }

}  // namespace lossd
