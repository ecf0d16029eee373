// SPDX-License-Identifier: Apache-2.0

#include "server/engine/backend_chooser.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace lossd {
namespace {

// More than anything takes.
constexpr double kUnknownSeconds = 1e9;

bool MayTake(const Backend& backend, int64_t bytes) {
  for (size_t i = 0; i < backend.devices().size(); ++i) {
    const int64_t most = backend.devices()[i].max_evaluation_bytes;
    if (backend.InService(i) && (most == 0 || bytes <= most)) return true;
  }
  return false;
}

}  // namespace

BackendChooser::Load& BackendChooser::Load::operator=(Load&& other) noexcept {
  if (this == &other) return *this;
  Release();
  chooser_ = std::exchange(other.chooser_, nullptr);
  backend_ = other.backend_;
  size_ = other.size_;
  seconds_ = other.seconds_;
  return *this;
}

void BackendChooser::Load::Release() {
  if (chooser_ == nullptr) return;
  absl::MutexLock lock(&chooser_->mutex_);
  Member& member = chooser_->members_[backend_];
  --member.given[size_];
  // Sums of rounded numbers do not end at 0 by themselves.
  member.seconds = std::max(0.0, member.seconds - seconds_);
  chooser_ = nullptr;
}

BackendChooser::BackendChooser(
    absl::Span<const std::unique_ptr<Backend>> backends) {
  absl::MutexLock lock(&mutex_);
  for (const std::unique_ptr<Backend>& backend : backends) {
    members_.emplace_back();
    members_.back().backend = backend.get();
  }
}

int BackendChooser::SizeOf(double operations) {
  const int bits = std::ilogb(std::max(operations, 1.0));
  return std::min(bits / 3, kSizes - 1);
}

double BackendChooser::BestPace(int size) const {
  double best = 0;
  for (const Member& member : members_) {
    const double pace = member.pace[size];
    if (pace > 0 && (best == 0 || pace < best)) best = pace;
  }
  return best;
}

bool BackendChooser::IsTrial(const Member& member, int size,
                             double best_pace) const {
  if (member.given[size] > 0) return false;
  if (member.pace[size] == 0 && member.last_choice[size] == 0) return true;
  // What could not be measured has failed, and is as slow as can be.
  const double slower =
      member.pace[size] > 0 ? member.pace[size] / best_pace : kMostPatience;
  const double interval =
      kTrialInterval * std::clamp<double>(slower, 1, kMostPatience);
  return member.seconds == 0 &&
         static_cast<double>(choices_[size] - member.last_choice[size]) >=
             interval;
}

size_t BackendChooser::Choose(double operations, int64_t bytes) {
  const int size = SizeOf(operations);
  absl::MutexLock lock(&mutex_);
  ++choices_[size];
  const double best_pace = BestPace(size);
  size_t best = 0;
  double least = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < members_.size(); ++i) {
    const Member& member = members_[i];
    if (!MayTake(*member.backend, bytes)) continue;
    const double pace = member.pace[size];
    // Of what is being tried for the first time nothing is known yet.
    double seconds = pace > 0 ? operations * pace : kUnknownSeconds;
    seconds += member.seconds / std::max(1, member.backend->max_runs());
    if (IsTrial(member, size, best_pace)) seconds = -1;
    if (seconds < least) {
      least = seconds;
      best = i;
    }
  }
  members_[best].last_choice[size] = choices_[size];
  return best;
}

BackendChooser::Load BackendChooser::Give(size_t backend, double operations) {
  Load load;
  load.chooser_ = this;
  load.backend_ = backend;
  load.size_ = SizeOf(operations);
  absl::MutexLock lock(&mutex_);
  Member& member = members_[backend];
  load.seconds_ = operations * member.pace[load.size_];
  ++member.given[load.size_];
  member.seconds += load.seconds_;
  return load;
}

void BackendChooser::Record(size_t backend, double operations,
                            absl::Duration elapsed) {
  const double sample =
      absl::ToDoubleSeconds(elapsed) / std::max(operations, 1.0);
  // The clock can step back.
  if (!(sample > 0) || !std::isfinite(sample)) return;
  absl::MutexLock lock(&mutex_);
  double& pace = members_[backend].pace[SizeOf(operations)];
  pace = pace == 0 ? sample : (pace + sample) / 2;
}

}  // namespace lossd
