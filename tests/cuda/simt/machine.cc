// SPDX-License-Identifier: Apache-2.0

#include "tests/cuda/simt/machine.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "absl/strings/str_cat.h"

namespace lossd::simt {
namespace {

constexpr int kWarp = 32;
// NaN as a float and as a double, and no index.
constexpr char kPoison = static_cast<char>(0xff);

Machine* current = nullptr;

}  // namespace

Machine& Machine::Current() {
  if (current == nullptr) std::abort();
  return *current;
}

absl::Status Machine::Run(const Grid& grid,
                          const std::function<void()>& kernel) {
  grid_ = grid;
  current = this;
  std::vector<int64_t> order(grid.blocks / grid.cluster);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random_);
  absl::Status status;
  for (int64_t cluster : order) {
    Begin(cluster * grid.cluster);
    status = RunCluster(kernel);
    if (!status.ok()) break;
  }
  current = nullptr;
  return status;
}

void Machine::Begin(int64_t first_block) {
  const size_t count = static_cast<size_t>(grid_.threads) * grid_.cluster;
  while (fibers_.size() < count) fibers_.push_back(std::make_unique<Fiber>());
  threads_.assign(count, Thread());
  for (size_t i = 0; i < count; ++i) {
    threads_[i].index = static_cast<int>(i) % grid_.threads;
    threads_[i].rank = static_cast<int>(i) / grid_.threads;
    threads_[i].block = first_block + threads_[i].rank;
  }
  const Barrier warp = {kWarp, {}, {}};
  warps_.assign(count / kWarp, warp);
  exchanges_.assign(count / kWarp, warp);
  blocks_.assign(grid_.cluster, Barrier{grid_.threads, {}, {}});
  cluster_ = Barrier{static_cast<int>(count), {}, {}};
  slots_.assign(count * 2 * kSlotBytes, kPoison);
  shared_.clear();
  shared_.resize(grid_.cluster);
  DrawOrder();
  ready_.clear();
  for (size_t i = 0; i < count; ++i) AddReady(static_cast<int>(i));
  live_.assign(grid_.cluster, grid_.threads);
  failure_.clear();
}

void Machine::DrawOrder() {
  priorities_.clear();
  size_t together = 1;  // threads whose order is that of one draw
  switch (random_() % 6) {
    case 0:
      break;
    case 1:
      together = kWarp;
      break;
    case 2:
      together = static_cast<size_t>(grid_.threads);
      break;
    default:
      return;
  }
  uint64_t draw = 0;
  for (size_t i = 0; i < threads_.size(); ++i) {
    if (i % together == 0) draw = random_() << 32;
    priorities_.push_back(draw | (random_() & 0xffffffffu));
  }
}

void Machine::AddReady(int thread) {
  ready_.push_back({priorities_.empty() ? 0 : priorities_[thread], thread});
  if (!priorities_.empty()) std::push_heap(ready_.begin(), ready_.end());
}

int Machine::TakeReady() {
  if (priorities_.empty()) {
    std::swap(ready_[random_() % ready_.size()], ready_.back());
  } else {
    std::pop_heap(ready_.begin(), ready_.end());
  }
  const int thread = ready_.back().second;
  ready_.pop_back();
  return thread;
}

absl::Status Machine::RunCluster(const std::function<void()>& kernel) {
  for (size_t i = 0; i < threads_.size(); ++i) fibers_[i]->Start(kernel);
  size_t left = threads_.size();
  while (left > 0) {
    if (ready_.empty()) return absl::InternalError(Stuck());
    const int i = TakeReady();
    running_ = &threads_[i];
    if (fibers_[i]->Resume()) {
      running_->done = true;
      --left;
      if (--live_[running_->rank] == 0) PoisonShared(running_->rank);
    }
    if (!failure_.empty()) return absl::InternalError(failure_);
  }
  return absl::OkStatus();
}

// A block that has ended has no memory any more.
void Machine::PoisonShared(int rank) {
  for (auto& [key, array] : shared_[rank]) {
    std::fill(array.begin(), array.end(), kPoison);
  }
}

std::string Machine::Stuck() const {
  std::string places;
  std::set<Site> seen;
  for (const Thread& thread : threads_) {
    if (thread.done || !seen.insert(thread.waits_at).second) continue;
    absl::StrAppend(&places, " ", thread.waits_at.file, ":",
                    thread.waits_at.line);
  }
  return absl::StrCat("threads wait for others that do not come, at", places);
}

Machine::Barrier* Machine::BarrierOf(Scope scope) {
  const int64_t i = running_ - threads_.data();
  switch (scope) {
    case Scope::kWarp:
      return &warps_[i / kWarp];
    case Scope::kBlock:
      return &blocks_[running_->rank];
    default:
      return &cluster_;
  }
}

void Machine::Sync(Scope scope, const char* file, int line) {
  const Site site = {file, line};
  sites_.insert(site);
  if (site == removed_) return;
  Wait(BarrierOf(scope), site);
}

void Machine::Wait(Barrier* barrier, const Site& site) {
  const int self = static_cast<int>(running_ - threads_.data());
  if (barrier->waiting.empty()) {
    barrier->site = site;
  } else if (barrier->site != site) {
    failure_ = absl::StrCat("threads meet at different barriers, ",
                            barrier->site.file, ":", barrier->site.line,
                            " and ", site.file, ":", site.line);
  }
  running_->waits_at = site;
  barrier->waiting.push_back(self);
  if (static_cast<int>(barrier->waiting.size()) == barrier->expected) {
    for (int thread : barrier->waiting) AddReady(thread);
    barrier->waiting.clear();
  }
  fibers_[self]->Suspend();
}

char* Machine::Slot() {
  const int64_t i = running_ - threads_.data();
  return &slots_[(i * 2 + running_->parity) * kSlotBytes];
}

// A slot is written again two exchanges later, when every thread of the warp
// has been at the one between, and so has read it.
void Machine::Exchange(const char* file, int line) {
  const int64_t i = running_ - threads_.data();
  const Site site = {file, line};
  sites_.insert(site);
  if (site != removed_) Wait(&exchanges_[i / kWarp], site);
  threads_[i].parity ^= 1;
}

const char* Machine::SlotOf(int lane) const {
  const int64_t i = running_ - threads_.data();
  const int64_t other = i / kWarp * kWarp + lane;
  return &slots_[(other * 2 + (running_->parity ^ 1)) * kSlotBytes];
}

char* Machine::Shared(const void* key, size_t bytes) {
  std::vector<char>& array = shared_[running_->rank][key];
  if (array.empty()) array.assign(bytes, kPoison);
  return array.data();
}

char* Machine::SharedOf(const char* mine, int rank) {
  for (const auto& [key, array] : shared_[running_->rank]) {
    if (mine < array.data() || mine >= array.data() + array.size()) continue;
    std::vector<char>& other = shared_[rank][key];
    if (other.empty()) other.assign(array.size(), kPoison);
    return other.data() + (mine - array.data());
  }
  std::abort();
}

}  // namespace lossd::simt
