// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_ENGINE_BACKEND_CHOOSER_H_
#define LOSSD_SERVER_ENGINE_BACKEND_CHOOSER_H_

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/engine/backend.h"

namespace lossd {

// Finds the backend that is expected to be done first, for evaluations that
// leave the device open: by what each has been given and has not done, and by
// how fast each was measured to be, with work of each size apart, because what
// a device needs besides computing weighs on small work. Thread-safe.
class BackendChooser {
 public:
  // Work that a backend has been given, until the end of its life. The chooser
  // outlives it.
  class Load {
   public:
    Load() = default;
    Load(Load&& other) noexcept { *this = std::move(other); }
    Load& operator=(Load&& other) noexcept;
    ~Load() { Release(); }
    void Release();

   private:
    friend class BackendChooser;
    BackendChooser* chooser_ = nullptr;
    size_t backend_ = 0;
    int size_ = 0;
    double seconds_ = 0;
  };

  // A backend that others are preferred to is tried again once in so many
  // choices of a size: it may have become faster. One that is n times slower
  // than the fastest is tried n times less often, up to kMostPatience.
  static constexpr int kTrialInterval = 64;
  static constexpr int kMostPatience = 64;

  // The backends outlive this.
  explicit BackendChooser(absl::Span<const std::unique_ptr<Backend>> backends);

  // The position of a backend for work of so many operations that takes so much
  // memory: among those that are in service and may take as much, if there are
  // any. What has not been measured yet is tried first, one at a time.
  size_t Choose(double operations, int64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_);

  // The backend has been given such work.
  Load Give(size_t backend, double operations) ABSL_LOCKS_EXCLUDED(mutex_);

  // It has done work of so many operations in that time, for which the chooser
  // knows it by half from then on: what a device does once, such as loading a
  // kernel, is forgotten after a few.
  void Record(size_t backend, double operations, absl::Duration elapsed)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // Sizes of work differ by a factor of 8.
  static constexpr int kSizes = 16;
  struct Member {
    const Backend* backend = nullptr;
    double seconds = 0;  // that what it has been given will take
    std::array<int, kSizes> given = {};
    std::array<int64_t, kSizes> last_choice = {};  // 0: never
    // Seconds of an operation, in the recent past; 0 until measured.
    std::array<double, kSizes> pace = {};
  };

  static int SizeOf(double operations);
  bool IsTrial(const Member& member, int size, double best_pace) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Of work of that size, the least that was measured; 0 if none was.
  double BestPace(int size) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Mutex mutex_;
  std::vector<Member> members_ ABSL_GUARDED_BY(mutex_);
  std::array<int64_t, kSizes> choices_ ABSL_GUARDED_BY(mutex_) = {};
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_BACKEND_CHOOSER_H_
