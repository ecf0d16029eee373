// SPDX-License-Identifier: Apache-2.0

#include "server/batching/batch_queue.h"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/batching/batch_item.h"
#include "server/batching/batcher_options.h"

namespace lossd {
namespace {

// A negative cost would let the sums drift below zero, and a NaN, or the
// difference of two infinities, would stay in them.
BatchItem::Cost Sane(BatchItem::Cost cost) {
  cost.bytes = std::max<int64_t>(cost.bytes, 0);
  cost.units = std::max<int64_t>(cost.units, 0);
  if (!(cost.operations >= 0)) cost.operations = 0;
  cost.operations = std::min(cost.operations, 1e300);
  return cost;
}

template <typename T>
absl::Status Full(absl::string_view what, T queued, T added, T bound,
                  BatchPriority priority) {
  return absl::ResourceExhaustedError(absl::StrCat(
      "the queue is full: ", queued, " ", what, " wait, this request adds ",
      added, ", and the bound ",
      priority == BatchPriority::kLow ? "for low priority " : "", "is ", bound,
      "; retry after the suggested delay, or elsewhere"));
}

}  // namespace

BatchTicket::BatchTicket(std::unique_ptr<BatchItem> the_item,
                         absl::Time submission)
    : item(std::move(the_item)),
      cost(Sane(item->cost())),
      key(item->batch_key()),
      priority(item->priority()),
      deadline(item->deadline()),
      submitted(submission) {}

std::optional<DropReason> BatchTicket::Unwanted(absl::Time now) const {
  if (item->cancelled()) return DropReason::kCancelled;
  if (deadline <= now) return DropReason::kDeadlineExceeded;
  return std::nullopt;
}

BatchQueue::BatchQueue(const BatcherOptions& options) : options_(options) {}

absl::Status BatchQueue::CheckRoom(const BatchItem::Cost& cost,
                                   BatchPriority priority) const {
  if (empty()) return absl::OkStatus();
  const int share = priority == BatchPriority::kLow ? 2 : 1;
  const int max_requests = options_.max_queue_requests / share;
  if (requests_ >= max_requests) {
    return Full("requests", requests_, 1, max_requests, priority);
  }
  // Subtracted, because the sum of two byte counts could overflow.
  const int64_t max_bytes = options_.max_queue_bytes / share;
  if (cost.bytes > max_bytes - bytes_) {
    return Full("bytes", bytes_, cost.bytes, max_bytes, priority);
  }
  const double max_operations = options_.max_queue_operations / share;
  if (operations() + cost.operations > max_operations) {
    return Full("operations", operations(), cost.operations, max_operations,
                priority);
  }
  return absl::OkStatus();
}

void BatchQueue::Push(BatchTicket ticket) {
  ticket.arrival = next_arrival_++;
  ++requests_;
  bytes_ += ticket.cost.bytes;
  Level& level = LevelOf(ticket.priority);
  level.operations += ticket.cost.operations;
  std::deque<BatchTicket>& lane = level.lanes[ticket.key];
  if (lane.empty()) level.heads.emplace(ticket.arrival, ticket.key);
  lane.push_back(std::move(ticket));
}

PulledBatch BatchQueue::Pull(absl::Time now) {
  assert(!empty());
  Level& level = NextLevel();
  const auto head = level.heads.begin();
  const auto found = level.lanes.find(head->second);
  std::deque<BatchTicket>& lane = found->second;
  level.heads.erase(head);

  PulledBatch batch;
  BatchItem::Cost taken;
  // The other workers are to find theirs.
  const size_t share = (lane.size() + options_.workers - 1) / options_.workers;
  while (!lane.empty() && batch.tickets.size() < share) {
    const BatchTicket& next = lane.front();
    if (const std::optional<DropReason> reason = next.Unwanted(now)) {
      batch.unwanted.push_back({PopFront(level, lane), *reason});
      continue;
    }
    if (!Fits(next, batch.tickets.size(), taken)) break;
    taken.bytes += next.cost.bytes;
    taken.units += next.cost.units;
    batch.tickets.push_back(PopFront(level, lane));
  }

  if (lane.empty()) {
    level.lanes.erase(found);
  } else {
    level.heads.emplace(lane.front().arrival, found->first);
  }
  // The sum of floating values must not keep the rounding of past items.
  if (level.heads.empty()) level.operations = 0;
  return batch;
}

double BatchQueue::operations() const {
  return LevelOf(BatchPriority::kNormal).operations +
         LevelOf(BatchPriority::kLow).operations;
}

double BatchQueue::OperationsAhead(BatchPriority priority) const {
  return priority == BatchPriority::kLow ? operations()
                                         : LevelOf(priority).operations;
}

BatchQueue::Level& BatchQueue::LevelOf(BatchPriority priority) {
  return levels_[priority == BatchPriority::kLow ? 1 : 0];
}

const BatchQueue::Level& BatchQueue::LevelOf(BatchPriority priority) const {
  return levels_[priority == BatchPriority::kLow ? 1 : 0];
}

BatchQueue::Level& BatchQueue::NextLevel() {
  Level& normal = LevelOf(BatchPriority::kNormal);
  Level& low = LevelOf(BatchPriority::kLow);
  if (low.heads.empty()) {
    normal_pulls_ = 0;
    return normal;
  }
  if (normal.heads.empty() || normal_pulls_ == kNormalPullsPerLow) {
    normal_pulls_ = 0;
    return low;
  }
  ++normal_pulls_;
  return normal;
}

bool BatchQueue::Fits(const BatchTicket& ticket, size_t requests,
                      const BatchItem::Cost& taken) const {
  if (requests == 0) return true;
  return requests < static_cast<size_t>(options_.max_batch_requests) &&
         ticket.cost.bytes <= options_.max_batch_bytes - taken.bytes &&
         ticket.cost.units <= options_.max_batch_units - taken.units;
}

BatchTicket BatchQueue::PopFront(Level& level, std::deque<BatchTicket>& lane) {
  BatchTicket ticket = std::move(lane.front());
  lane.pop_front();
  --requests_;
  bytes_ -= ticket.cost.bytes;
  level.operations -= ticket.cost.operations;
  return ticket;
}

}  // namespace lossd
