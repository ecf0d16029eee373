// SPDX-License-Identifier: Apache-2.0
//
// Items that tell what became of them, and a batcher whose runs a test can hold
// and release.

#ifndef LOSSD_TESTS_UNIT_BATCHING_BATCHING_TEST_SUPPORT_H_
#define LOSSD_TESTS_UNIT_BATCHING_BATCHING_TEST_SUPPORT_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/batching/batch_item.h"
#include "server/batching/batch_observer.h"
#include "server/batching/batcher.h"
#include "tests/unit/base/fake_clock.h"

namespace lossd {

// What a test says about an item. `on_*` run on the thread that completes it.
struct ItemSpec {
  int id = 0;
  BatchItem::Cost cost = {.bytes = 1, .units = 1, .operations = 1};
  uint64_t key = 0;
  BatchPriority priority = BatchPriority::kNormal;
  absl::Time deadline = absl::InfiniteFuture();
  const std::atomic<bool>* cancelled = nullptr;
  std::function<void()> on_run = [] {};
  std::function<void()> on_drop = [] {};
  std::function<void()> on_destroy = [] {};
};

// Everything that happened, by item id. Thread-safe.
class Journal {
 public:
  struct Outcome {
    int runs = 0;
    int drops = 0;
    std::optional<Drop> drop;
    BatchPlacement placement;
    std::thread::id thread;
  };

  void AddBatch(std::vector<int> ids) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    batches_.push_back(std::move(ids));
  }
  void AddRun(int id, const BatchPlacement& placement)
      ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    Outcome& outcome = outcomes_[id];
    ++outcome.runs;
    outcome.placement = placement;
    outcome.thread = std::this_thread::get_id();
  }
  void AddDrop(int id, const Drop& drop) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    Outcome& outcome = outcomes_[id];
    ++outcome.drops;
    outcome.drop = drop;
    outcome.thread = std::this_thread::get_id();
  }

  // The ids of each batch, in the order in which the runs began.
  std::vector<std::vector<int>> batches() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return batches_;
  }
  Outcome of(int id) const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    const auto found = outcomes_.find(id);
    return found == outcomes_.end() ? Outcome() : found->second;
  }

 private:
  mutable absl::Mutex mutex_;
  std::vector<std::vector<int>> batches_ ABSL_GUARDED_BY(mutex_);
  std::map<int, Outcome> outcomes_ ABSL_GUARDED_BY(mutex_);
};

// An item that does what its spec says. `journal` may be null.
class TestItem final : public BatchItem {
 public:
  TestItem(ItemSpec spec, Journal* journal)
      : spec_(std::move(spec)), journal_(journal) {}
  ~TestItem() override { spec_.on_destroy(); }

  Cost cost() const override { return spec_.cost; }
  uint64_t batch_key() const override { return spec_.key; }
  BatchPriority priority() const override { return spec_.priority; }
  absl::Time deadline() const override { return spec_.deadline; }
  bool cancelled() const override {
    return spec_.cancelled != nullptr && spec_.cancelled->load();
  }
  void OnDropped(const Drop& drop) override {
    if (journal_ != nullptr) journal_->AddDrop(spec_.id, drop);
    spec_.on_drop();
  }

  void Run() {
    if (journal_ != nullptr) journal_->AddRun(spec_.id, placement());
    spec_.on_run();
  }
  const ItemSpec& spec() const { return spec_; }

 private:
  const ItemSpec spec_;
  Journal* const journal_;
};

// Runs a batch of TestItems, one after the other.
inline void RunTestItems(absl::Span<BatchItem* const> batch, Journal* journal) {
  std::vector<int> ids;
  for (BatchItem* item : batch) {
    ids.push_back(static_cast<TestItem*>(item)->spec().id);
  }
  journal->AddBatch(std::move(ids));
  for (BatchItem* item : batch) static_cast<TestItem*>(item)->Run();
}

// Holds a run between Open()s: the thread of the run waits inside it.
class Gate {
 public:
  // For ItemSpec::on_run.
  std::function<void()> Hold() {
    return [this] {
      entered_.Notify();
      opened_.WaitForNotification();
    };
  }
  void WaitUntilEntered() const { entered_.WaitForNotification(); }
  void Open() { opened_.Notify(); }

 private:
  absl::Notification entered_;
  absl::Notification opened_;
};

// A batcher with a fake clock whose single worker, by default, can be held.
class BatcherHarness {
 public:
  explicit BatcherHarness(BatcherOptions options,
                          BatchObserver* observer = nullptr)
      : batcher_(Batcher::Create(
                     options, &clock_,
                     [this](absl::Span<BatchItem* const> batch) {
                       RunTestItems(batch, &journal_);
                     },
                     observer)
                     .value()) {}

  void Submit(ItemSpec spec) {
    batcher_->Submit(std::make_unique<TestItem>(std::move(spec), &journal_));
  }

  // Submits an item of no size that a worker runs, and returns when it does:
  // from then on, until `gate` opens, one slot is taken and nothing is queued.
  void Occupy(int id, Gate* gate) {
    Submit({.id = id,
            .cost = {.operations = 1e9},
            .key = ~uint64_t{0},
            .on_run = gate->Hold()});
    gate->WaitUntilEntered();
  }

  // Lets a worker run `operations` for `duration` on the fake clock, and
  // returns when the batcher has measured it. Needs a harness of one worker,
  // and nothing queued; leaves the worker held by `gate`.
  void MeasureRate(double operations, absl::Duration duration, Gate* gate) {
    Gate first;
    Submit({.id = -1,
            .cost = {.operations = operations},
            .key = ~uint64_t{0},
            .on_run = [this, duration, hold = first.Hold()] {
              clock_.Advance(duration);
              hold();
            }});
    first.WaitUntilEntered();
    // The same worker runs it, so the first run is over and counted by then.
    Submit({.id = -2,
            .cost = {.operations = 1e9},
            .key = ~uint64_t{1},
            .on_run = gate->Hold()});
    first.Open();
    gate->WaitUntilEntered();
  }

  FakeClock& clock() { return clock_; }
  Journal& journal() { return journal_; }
  Batcher& batcher() { return *batcher_; }
  void Destroy() { batcher_.reset(); }

 private:
  FakeClock clock_;
  Journal journal_;
  std::unique_ptr<Batcher> batcher_;
};

// One worker, small bounds, and nothing inline.
inline BatcherOptions SmallOptions() {
  return {.workers = 1,
          .inline_operations = -1,
          .max_batch_bytes = 1000,
          .max_batch_units = 1000,
          .max_batch_requests = 100,
          .max_queue_bytes = 10000,
          .max_queue_operations = 1e12,
          .max_queue_requests = 1000};
}

}  // namespace lossd

#endif  // LOSSD_TESTS_UNIT_BATCHING_BATCHING_TEST_SUPPORT_H_
