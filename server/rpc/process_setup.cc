// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/process_setup.h"

#include <malloc.h>
#include <pthread.h>

#include <algorithm>
#include <csignal>
#include <ctime>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "google/protobuf/stubs/logging.h"

namespace lossd {
namespace {

sigset_t TerminationSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  return signals;
}

}  // namespace

void KeepMessageMemory() {
  // With these a call of 4 MiB takes about half the time that it takes with
  // glibc's own; after a burst up to 64 MiB of an arena stay resident. 32 MiB
  // is the most that glibc takes as the first.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  mallopt(M_ARENA_MAX, 4);
}

void SilenceParser() { google::protobuf::SetLogHandler(nullptr); }

void SkipDeadlockDetection() {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

void BlockTerminationSignals() {
  const sigset_t signals = TerminationSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

bool WaitForTermination(absl::Time deadline,
                        absl::FunctionRef<void()> on_hangup) {
  const sigset_t signals = TerminationSignals();
  for (;;) {
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) return false;
    // An hour at a time, because a deadline can be infinite.
    const timespec wait = absl::ToTimespec(std::min(left, absl::Hours(1)));
    const int signal = sigtimedwait(&signals, nullptr, &wait);
    if (signal == SIGTERM || signal == SIGINT) return true;
    if (signal == SIGHUP) on_hangup();
  }
}

}  // namespace lossd
