// SPDX-License-Identifier: Apache-2.0
//
// The time as a parameter. Code that compares a time with a deadline or
// measures a duration takes a Clock, so that a test decides what time it is.

#ifndef LOSSD_SERVER_BASE_CLOCK_H_
#define LOSSD_SERVER_BASE_CLOCK_H_

#include "absl/time/time.h"

namespace lossd {

// A source of the current time. Implementations are thread-safe, never block
// for long, and never call back into the code that asks.
//
// The time is civil time, the same that gRPC deadlines are given in. It may
// step, also backwards: a duration taken from two readings can be negative and
// its user must say what that means.
class Clock {
 public:
  Clock() = default;
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;
  virtual ~Clock() = default;

  virtual absl::Time Now() const = 0;

  // The system's clock, tens of nanoseconds a reading. Lives until the process
  // ends; the caller owns nothing.
  static Clock* Real();
};

}  // namespace lossd

#endif  // LOSSD_SERVER_BASE_CLOCK_H_
