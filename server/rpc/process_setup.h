// SPDX-License-Identifier: Apache-2.0
//
// What a server process does before it starts a thread, and how it learns that
// it shall end.

#ifndef LOSSD_SERVER_RPC_PROCESS_SETUP_H_
#define LOSSD_SERVER_RPC_PROCESS_SETUP_H_

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"

namespace lossd {

// Keeps protobuf from writing to standard error what it finds wrong with the
// bytes of a caller, who is told instead.
void SilenceParser();

// Abseil built without NDEBUG, as Debian's is, records the order in which every
// mutex of the process is taken, under one lock that all threads share. gRPC
// takes some twenty mutexes a call.
void SkipDeadlockDetection();

// Blocks the signals that WaitForTermination() takes, in this thread and all
// that it starts from now on, and ignores SIGPIPE.
void BlockTerminationSignals();

// Waits for SIGTERM or SIGINT until `deadline`; true if one came. A SIGHUP
// changes nothing, since settings are read at start only: `on_hangup` is
// called.
bool WaitForTermination(absl::Time deadline,
                        absl::FunctionRef<void()> on_hangup);

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_PROCESS_SETUP_H_
