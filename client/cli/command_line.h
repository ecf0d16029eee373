// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_CLI_COMMAND_LINE_H_
#define LOSSD_CLIENT_CLI_COMMAND_LINE_H_

#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/bench/load.h"
#include "client/cli/bench/options.h"
#include "client/cli/evaluation.h"

namespace lossd::cli {

enum class Command {
  kEval,
  kValidate,
  kGrad,
  kExplain,
  kLosses,
  kDescribe,
  kInfo,
  kHealth,
  kBench,
};

// A command line, read.
struct CommandLine {
  Command command = Command::kEval;
  std::string server = "127.0.0.1:50051";
  absl::Duration timeout = absl::Seconds(60);
  int64_t max_message_bytes = int64_t{64} << 20;
  bool json = false;
  // Show long tensors whole.
  bool full = false;
  // Of eval, grad and explain: show the flags of the loss, after `help`.
  bool help = false;
  std::string help_text = {};
  // Of eval, grad, explain, bench; and the loss of describe.
  LossOptions loss = {};
  // Of eval and grad: where the server shares memory, to send tensors through
  // it; empty: to send them as bytes.
  std::string shared_memory = {};
  // Of grad: write each gradient to NAME.npy in this folder.
  std::string save_gradients = {};
  // Of bench: its flags, and the load that they ask for but for the payloads.
  BenchOptions bench = {};
  LoadOptions load = {};
};

// What to print instead of running a command: the general help, or the version.
struct Notice {
  std::string text;
};

// Reads `arguments` (without the program's name). INVALID_ARGUMENT if they
// cannot be used; flags that no command has are left to the loss, which may
// have them (LossOptions::flags).
absl::StatusOr<std::variant<CommandLine, Notice>> ParseCommandLine(
    const std::vector<std::string>& arguments);

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_COMMAND_LINE_H_
