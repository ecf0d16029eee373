// SPDX-License-Identifier: Apache-2.0

#include "server/base/clock.h"

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace lossd {
namespace {

class RealClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::Now(); }
};

}  // namespace

Clock* Clock::Real() {
  // Stateless, and never destroyed, because threads that outlive main() may
  // still ask for the time.
  static Clock* const clock = new RealClock;
  return clock;
}

}  // namespace lossd
