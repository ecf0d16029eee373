// SPDX-License-Identifier: Apache-2.0
#include "client/cli/bench/pacer.h"

#include <cmath>

namespace lossd::cli {

Pacer::Pacer(double calls_per_s, int64_t first_ns, int64_t end_ns, int max_open)
    : calls_per_s_(calls_per_s),
      first_ns_(first_ns),
      end_ns_(end_ns),
      max_open_(max_open),
      next_ns_(IntendedNs(0)) {}

// From the call's number, so that the rounding of one adds nothing to the next.
int64_t Pacer::IntendedNs(int64_t call) const {
  const double after =
      std::ceil(static_cast<double>(call) * 1e9 / calls_per_s_);
  if (after >= static_cast<double>(end_ns_ - first_ns_)) return kNever;
  return first_ns_ + static_cast<int64_t>(after);
}

std::optional<int64_t> Pacer::Start(int64_t now_ns) {
  if (next_ns_ == kNever || now_ns < next_ns_ || full()) return std::nullopt;
  const int64_t intended_ns = next_ns_;
  next_ns_ = IntendedNs(++started_);
  ++open_;
  return intended_ns;
}

int64_t Pacer::left() const {
  if (next_ns_ == kNever) return 0;
  // The smallest number that is no call any more, by bisection.
  int64_t last = started_;
  int64_t end = started_ + 1;
  while (IntendedNs(end) != kNever) end = started_ + 2 * (end - started_);
  while (end - last > 1) {
    const int64_t middle = last + (end - last) / 2;
    (IntendedNs(middle) == kNever ? end : last) = middle;
  }
  return end - started_;
}

}  // namespace lossd::cli
