// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_CLI_BENCH_PACER_H_
#define LOSSD_CLIENT_CLI_BENCH_PACER_H_

#include <cstdint>
#include <limits>
#include <optional>

namespace lossd::cli {

// Which calls of an open loop are to start, and when each should have.
//
// Call i should start at first_ns + i / calls_per_s, if that is before end_ns,
// whatever became of the calls before it. A call that starts late, because the
// server or this program stalled, keeps its intended start: measured from there
// its latency has the wait in it, and no stall hides itself by holding up the
// calls that would have met it (coordinated omission).
//
// Times are nanoseconds of any one clock, which the caller reads. Not
// thread-safe.
class Pacer {
 public:
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

  // At most `max_open` calls (at least 1) are open at a time; those that are
  // due beyond it wait. `calls_per_s` is greater than 0.
  Pacer(double calls_per_s, int64_t first_ns, int64_t end_ns, int max_open);

  // If a call is due at `now_ns` and may start, it is open from now on: returns
  // when it should have started. Else nothing; ask again at next_ns(), or after
  // End() if full(). Several calls may be due at once.
  std::optional<int64_t> Start(int64_t now_ns);
  // One of the open calls has ended.
  void End() { --open_; }

  // When the next call should start; kNever if none is left.
  int64_t next_ns() const { return next_ns_; }
  bool full() const { return open_ >= max_open_; }
  int open() const { return open_; }
  // How many calls are left to start.
  int64_t left() const;

 private:
  int64_t IntendedNs(int64_t call) const;

  const double calls_per_s_;
  const int64_t first_ns_;
  const int64_t end_ns_;
  const int max_open_;
  int64_t started_ = 0;
  int64_t next_ns_ = kNever;
  int open_ = 0;
};

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_BENCH_PACER_H_
