// SPDX-License-Identifier: Apache-2.0

#include "server/batching/rate_meter.h"

#include <cmath>

#include "absl/time/time.h"

namespace lossd {

void RateMeter::Add(double operations, absl::Duration elapsed) {
  if (elapsed <= absl::ZeroDuration() || elapsed == absl::InfiniteDuration()) {
    return;
  }
  if (!(operations > 0) || !std::isfinite(operations)) return;
  const double seconds = absl::ToDoubleSeconds(elapsed);
  const double kept = std::exp(-absl::FDivDuration(elapsed, kMemory));
  operations_ = operations_ * kept + operations;
  seconds_ = seconds_ * kept + seconds;
}

double RateMeter::PerSecond() const {
  return seconds_ > 0 ? operations_ / seconds_ : 0;
}

}  // namespace lossd
