// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_CLI_BENCH_LANE_H_
#define LOSSD_CLIENT_CLI_BENCH_LANE_H_

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "client/cli/bench/load.h"
#include "client/cli/bench/pacer.h"

namespace lossd::cli {

// std::chrono::steady_clock (CLOCK_MONOTONIC) in nanoseconds.
int64_t NowNs();

// Of a load, in NowNs(): calls begin before `end_ns`, count from `begin_ns`,
// and are cancelled at `give_up_ns`.
struct LoadWindow {
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
  int64_t give_up_ns = 0;
};

// What the lanes of a load share, constant while it runs.
struct LoadPlan {
  const LoadOptions& options;
  const std::vector<grpc::ByteBuffer>& payloads;
  const std::vector<std::unique_ptr<grpc::GenericStub>>& stubs;
  const AnswerCheck& check;
  LoadWindow window;
};

// The calls of one completion queue. RunClosed or RunOpen is called once, and
// AddTo after it.
class Lane {
 public:
  // Lane `number` begins with the payload and the connection of that number.
  // `plan` must outlive it.
  Lane(const LoadPlan& plan, size_t number);

  // Keeps that many calls open until the window ends. Blocks until all ended.
  void RunClosed(int concurrency);
  // Starts calls as `pacer` says, on a thread of its own. Blocks until all have
  // ended.
  void RunOpen(Pacer pacer);

  void AddTo(LoadReport* report) const;

 private:
  struct Call {
    std::optional<grpc::ClientContext> context;
    std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader;
    grpc::ByteBuffer answer;
    grpc::Status status;
    size_t payload = 0;
    // From when its latency is measured.
    int64_t start_ns = 0;
  };

  Call* NewCall();
  void Start(Call* call, int64_t start_ns);
  // Counts a call that ended at `now_ns`.
  void Count(const Call& call, int64_t now_ns);
  void CountError(const std::string& code, const std::string& message);
  void CancelAll();

  // The thread that starts the calls of an open loop.
  void StartCalls();
  void SleepUntil(int64_t ns) const;

  const LoadPlan& plan_;
  const bool open_loop_;
  size_t next_payload_;
  size_t next_stub_;
  grpc::CompletionQueue queue_;
  std::vector<std::unique_ptr<Call>> calls_;
  LoadReport counted_;

  // Of an open loop, whose calls one thread starts and another ends.
  std::mutex mutex_;
  std::condition_variable ended_;
  std::optional<Pacer> pacer_;
  std::vector<Call*> idle_;
};

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_BENCH_LANE_H_
