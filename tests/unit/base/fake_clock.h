// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_TESTS_UNIT_BASE_FAKE_CLOCK_H_
#define LOSSD_TESTS_UNIT_BASE_FAKE_CLOCK_H_

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/base/clock.h"

namespace lossd {

// A clock that stands still until a test moves it. Thread-safe.
class FakeClock final : public Clock {
 public:
  explicit FakeClock(absl::Time now = absl::FromUnixSeconds(1'700'000'000))
      : now_(now) {}

  absl::Time Now() const override ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return now_;
  }

  // Moves the time by `step`, which may be negative: real clocks step back too.
  void Advance(absl::Duration step) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    now_ += step;
  }

 private:
  mutable absl::Mutex mutex_;
  absl::Time now_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace lossd

#endif  // LOSSD_TESTS_UNIT_BASE_FAKE_CLOCK_H_
