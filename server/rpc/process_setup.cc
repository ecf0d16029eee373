// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/process_setup.h"

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
