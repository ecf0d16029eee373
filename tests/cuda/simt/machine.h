// SPDX-License-Identifier: Apache-2.0
//
// A device on the host, for tests: it runs the threads of a kernel as fibers,
// in an order that a seed decides, and finds what only luck hides on a GPU.

#ifndef LOSSD_TESTS_CUDA_SIMT_MACHINE_H_
#define LOSSD_TESTS_CUDA_SIMT_MACHINE_H_

#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "tests/cuda/simt/fiber.h"

namespace lossd::simt {

// Where a barrier, or an exchange among the threads of a warp, stands in the
// source. The name of the file is a literal.
struct Site {
  const char* file = "";
  int line = 0;

  friend std::strong_ordering operator<=>(const Site& a, const Site& b) {
    if (a.line != b.line) return a.line <=> b.line;
    return a.file == b.file ? std::strong_ordering::equal
                            : std::strcmp(a.file, b.file) <=> 0;
  }
  friend bool operator==(const Site& a, const Site& b) {
    return (a <=> b) == std::strong_ordering::equal;
  }
};

struct Grid {
  int64_t blocks = 1;
  int threads = 1;  // of a block, a multiple of 32
  int cluster = 1;  // blocks that run together
};

// Runs kernels, a cluster of blocks at a time. A thread runs alone until it
// waits at a barrier; then another that can go on is next: any, or always the
// first in an order of threads, warps or blocks, so that some run as far ahead
// as barriers let them. What it is, and the order, is random for each cluster.
// Shared memory is poisoned before each block and after it. Not thread-safe:
// one launch at a time in the process.
class Machine {
 public:
  explicit Machine(uint64_t seed) : random_(seed) {}

  // INTERNAL if some threads wait where others do not come. The kernel is
  // called once for each thread.
  absl::Status Run(const Grid& grid, const std::function<void()>& kernel);

  // A barrier that is passed over, or an exchange that does not wait for the
  // other threads.
  void set_removed(const Site& site) { removed_ = site; }
  // Barriers and exchanges that a thread has come to since the last call.
  std::set<Site> TakeSites() { return std::exchange(sites_, {}); }

  // What threads call, through threads.h.
  enum class Scope { kWarp, kBlock, kCluster };
  static Machine& Current();
  int thread() const { return running_->index; }
  int64_t block() const { return running_->block; }
  int64_t block_count() const { return grid_.blocks; }
  int cluster_rank() const { return running_->rank; }
  int cluster_size() const { return grid_.cluster; }
  void Sync(Scope scope, const char* file, int line);
  // A place for what the thread shows its warp in the next exchange, and those
  // of the others, until the exchange after.
  static constexpr size_t kSlotBytes = 16;
  char* Slot();
  void Exchange(const char* file, int line);
  const char* SlotOf(int lane) const;
  // The array of the running thread's block that `key` names.
  char* Shared(const void* key, size_t bytes);
  // The same array of another block of the cluster.
  char* SharedOf(const char* mine, int rank);

 private:
  struct Thread {
    int index = 0;
    int rank = 0;
    int64_t block = 0;
    int parity = 0;
    Site waits_at;
    bool done = false;
  };
  // What threads wait for: all of a warp, of a block, or of a cluster.
  struct Barrier {
    int expected = 0;
    std::vector<int> waiting;
    Site site;
  };

  void Begin(int64_t first_block);
  void DrawOrder();
  void AddReady(int thread);
  int TakeReady();
  absl::Status RunCluster(const std::function<void()>& kernel);
  void Wait(Barrier* barrier, const Site& site);
  Barrier* BarrierOf(Scope scope);
  std::string Stuck() const;
  void PoisonShared(int rank);

  std::mt19937_64 random_;
  Grid grid_;
  Site removed_;
  std::set<Site> sites_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Thread> threads_;  // of the cluster
  std::vector<Barrier> warps_, exchanges_, blocks_;
  Barrier cluster_;
  std::vector<std::pair<uint64_t, int>> ready_;  // priority and thread
  // By thread: the greatest is next, in a heap; empty: any.
  std::vector<uint64_t> priorities_;
  std::vector<int> live_;  // threads of each block
  Thread* running_ = nullptr;
  std::vector<char> slots_;  // [threads][2]
  // By block of the cluster and key; each an own allocation, so that
  // AddressSanitizer sees its ends.
  std::vector<std::map<const void*, std::vector<char>>> shared_;
  std::string failure_;
};

}  // namespace lossd::simt

#endif  // LOSSD_TESTS_CUDA_SIMT_MACHINE_H_
