// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_BATCHING_RATE_METER_H_
#define LOSSD_SERVER_BATCHING_RATE_METER_H_

#include "absl/time/time.h"

namespace lossd {

// The rate of work, averaged over the recent past.
//
// Operations and seconds are summed separately, and both sums decay by a factor
// of e for each kMemory of measured time. So the rate is weighted by time, not
// by sample: a thousand short runs do not outvote a long one.
//
// Not thread-safe. Constant time and memory.
class RateMeter {
 public:
  static constexpr absl::Duration kMemory = absl::Seconds(1);

  // Counts work of `operations` that took `elapsed`. Samples that say nothing
  // about the rate are ignored: no time, negative time (the clock stepped
  // back), no work, or work that is not finite.
  void Add(double operations, absl::Duration elapsed);

  // Operations per second; 0 until a sample has counted.
  double PerSecond() const;

 private:
  double operations_ = 0;
  double seconds_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_BATCHING_RATE_METER_H_
