// SPDX-License-Identifier: Apache-2.0

#include "server/batching/batcher.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/base/clock.h"
#include "server/batching/batch_item.h"
#include "server/batching/batch_observer.h"
#include "server/batching/batch_queue.h"
#include "server/batching/batcher_options.h"

namespace lossd {
namespace {

absl::Duration DelayOf(double operations, double per_second) {
  if (per_second <= 0) return Batcher::kMaxRetryDelay;
  return std::clamp(absl::Seconds(operations / per_second),
                    Batcher::kMinRetryDelay, Batcher::kMaxRetryDelay);
}

Drop UnwantedDrop(DropReason reason, DropStage stage) {
  absl::Status status =
      reason == DropReason::kCancelled
          ? absl::CancelledError("the caller cancelled before the run began")
          : absl::DeadlineExceededError(
                "the deadline passed before the run began; allow more time");
  return {reason, stage, std::move(status), absl::ZeroDuration()};
}

}  // namespace

absl::StatusOr<std::unique_ptr<Batcher>> Batcher::Create(
    const BatcherOptions& options, const Clock* clock, Runner runner,
    BatchObserver* observer) {
  if (absl::Status valid = ValidateBatcherOptions(options); !valid.ok()) {
    return valid;
  }
  return absl::WrapUnique(
      new Batcher(options, clock, std::move(runner), observer));
}

Batcher::Batcher(const BatcherOptions& options, const Clock* clock,
                 Runner runner, BatchObserver* observer)
    : options_(options),
      clock_(clock),
      runner_(std::move(runner)),
      observer_(observer != nullptr ? observer : &no_observer_),
      queue_(options) {
  workers_.reserve(options_.workers);
  for (int i = 0; i < options_.workers; ++i) {
    workers_.emplace_back([this] { WorkerLoop(); });
  }
}

Batcher::~Batcher() {
  Drain();
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    work_.SignalAll();
  }
  for (std::thread& worker : workers_) worker.join();
}

bool Batcher::Submit(std::unique_ptr<BatchItem> item) {
  bool queued = false;
  std::optional<BatchTicket> ticket =
      Enter(BatchTicket(std::move(item), clock_->Now()), &queued);
  if (!ticket) return queued;
  Run(absl::MakeSpan(&*ticket, 1), ticket->submitted);

  absl::MutexLock lock(&mutex_);
  --running_;
  // What was queued meanwhile is left to a worker, since the caller of this
  // thread waits for nothing any more.
  if (!queue_.empty()) work_.Signal();
  return false;
}

absl::Duration Batcher::RetryDelay() const {
  absl::MutexLock lock(&mutex_);
  return DelayOf(queue_.operations(), OperationsPerSecond());
}

void Batcher::Drain() {
  absl::MutexLock lock(&mutex_);
  draining_ = true;
  mutex_.Await(absl::Condition(this, &Batcher::IsIdle));
}

Batcher::Stats Batcher::GetStats() const {
  absl::MutexLock lock(&mutex_);
  return {queue_.requests(), queue_.bytes(), queue_.operations(), running_,
          OperationsPerSecond()};
}

std::optional<Drop> Batcher::Refusal(const BatchTicket& ticket) const {
  if (draining_) {
    return Drop{DropReason::kDraining, DropStage::kSubmit,
                absl::UnavailableError(
                    "this server is shutting down; retry at another"),
                absl::ZeroDuration()};
  }
  if (const auto reason = ticket.Unwanted(ticket.submitted)) {
    return UnwantedDrop(*reason, DropStage::kSubmit);
  }
  if (absl::Status room = queue_.CheckRoom(ticket.cost, ticket.priority);
      !room.ok()) {
    return Drop{DropReason::kQueueFull, DropStage::kSubmit, std::move(room),
                DelayOf(queue_.operations(), OperationsPerSecond())};
  }
  return Unreachable(ticket);
}

std::optional<Drop> Batcher::Unreachable(const BatchTicket& ticket) const {
  const double ahead = queue_.OperationsAhead(ticket.priority);
  const double per_second = OperationsPerSecond();
  if (per_second <= 0) return std::nullopt;
  const absl::Duration wait = absl::Seconds(ahead / per_second);
  if (ticket.submitted + wait <= ticket.deadline) return std::nullopt;
  return Drop{DropReason::kDeadlineUnreachable, DropStage::kSubmit,
              absl::ResourceExhaustedError(absl::StrCat(
                  "the queue ahead takes about ", absl::FormatDuration(wait),
                  " and the deadline is in ",
                  absl::FormatDuration(ticket.deadline - ticket.submitted),
                  "; retry after the suggested delay, or elsewhere")),
              DelayOf(ahead, per_second)};
}

std::optional<BatchTicket> Batcher::Enter(BatchTicket ticket, bool* queued) {
  std::optional<Drop> refusal;
  {
    absl::MutexLock lock(&mutex_);
    refusal = Refusal(ticket);
    if (!refusal) {
      if (queue_.empty() && HasFreeSlot() &&
          ticket.cost.operations <= options_.inline_operations) {
        ++running_;
        return ticket;
      }
      queue_.Push(std::move(ticket));
      *queued = true;
      // Without a free slot no signal is needed: whoever frees one looks.
      if (HasFreeSlot()) work_.Signal();
      return std::nullopt;
    }
  }
  DropItem(ticket, *refusal);
  return std::nullopt;
}

void Batcher::WorkerLoop() {
  while (std::optional<PulledBatch> batch = NextBatch()) {
    Process(*std::move(batch));
  }
}

std::optional<PulledBatch> Batcher::NextBatch() {
  absl::MutexLock lock(&mutex_);
  while (queue_.empty() || !HasFreeSlot()) {
    // Stopping follows a drain, so nothing is left behind.
    if (stopping_) return std::nullopt;
    work_.Wait(&mutex_);
  }
  ++running_;
  return queue_.Pull(clock_->Now());
}

void Batcher::Process(PulledBatch batch) {
  for (PulledBatch::Unwanted& unwanted : batch.unwanted) {
    DropItem(unwanted.ticket, UnwantedDrop(unwanted.reason, DropStage::kForm));
  }
  // Completing those took time, and this batch may have waited for the thread.
  const absl::Time start = clock_->Now();
  double operations = 0;
  std::vector<BatchTicket> wanted;
  wanted.reserve(batch.tickets.size());
  for (BatchTicket& ticket : batch.tickets) {
    if (const auto reason = ticket.Unwanted(start)) {
      DropItem(ticket, UnwantedDrop(*reason, DropStage::kRun));
    } else {
      operations += ticket.cost.operations;
      wanted.push_back(std::move(ticket));
    }
  }

  absl::Duration elapsed;
  if (!wanted.empty()) elapsed = Run(absl::MakeSpan(wanted), start) - start;

  absl::MutexLock lock(&mutex_);
  // The freed slot needs no signal: this thread is the next to look.
  --running_;
  slot_rate_.Add(operations, elapsed);
}

absl::Time Batcher::Run(absl::Span<BatchTicket> tickets, absl::Time start) {
  absl::InlinedVector<BatchItem*, 16> items;
  BatchPlacement placement;
  for (const BatchTicket& ticket : tickets) {
    items.push_back(ticket.item.get());
    placement.batch_units += ticket.cost.units;
  }
  placement.batch_requests = static_cast<int>(tickets.size());
  observer_->OnBatch(placement.batch_requests, placement.batch_units);
  for (const BatchTicket& ticket : tickets) {
    // The clock may have stepped back.
    placement.queued = std::max(start - ticket.submitted, absl::ZeroDuration());
    ticket.item->placement_ = placement;
    observer_->OnQueued(placement.queued);
  }

  runner_(items);
  const absl::Time end = clock_->Now();
  // Destroyed while the slot is taken, so that a drain waits for it.
  for (BatchTicket& ticket : tickets) ticket.item.reset();
  return end;
}

void Batcher::DropItem(BatchTicket& ticket, const Drop& drop) {
  observer_->OnDropped(drop.reason, drop.stage);
  ticket.item->OnDropped(drop);
  ticket.item.reset();
}

bool Batcher::HasFreeSlot() const { return running_ < options_.workers; }

bool Batcher::IsIdle() const { return queue_.empty() && running_ == 0; }

double Batcher::OperationsPerSecond() const {
  return slot_rate_.PerSecond() * options_.workers;
}

}  // namespace lossd
