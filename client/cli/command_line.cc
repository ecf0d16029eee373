// SPDX-License-Identifier: Apache-2.0
#include "client/cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace lossd::cli {
namespace {

constexpr char kFooter[] =
    "Tensors and parameters of a loss are flags: see lossctl grad LOSS --help\n"
    "  lossctl grad binary_cross_entropy_with_logits \\\n"
    "      --input '[-1.7723, -1.5965, 0.8863]' --target '[0, 1, 0]'\n"
    "A tensor is nested lists of numbers ('[[1, 2], [3, 4]]'), a file "
    "(@x.npy, x.csv, x.json),\nor - for standard input.";

constexpr char kBenchFooter[] =
    "Tensors and parameters of the loss are flags, as of lossctl grad; "
    "required "
    "tensors that\nare left out are made up, in each request with other "
    "numbers:\n"
    "  lossctl bench cross_entropy --shape 32x1000 --label-smoothing 0.1 \\\n"
    "      --rate 2000 --duration 10s\n"
    "The exit status is 1 if a call failed.";

bool IsOfLoss(Command command) {
  return command == Command::kEval || command == Command::kGrad ||
         command == Command::kValidate || command == Command::kExplain;
}

// CLI11's parser, with what it fills.
class Parser {
 public:
  Parser()
      : app_("Computes training losses and their gradients with lossd.",
             "lossctl") {
    app_.require_subcommand(1);
    // CLI11's own way would read it again for each command, over a flag.
    const char* server = std::getenv("LOSSCTL_SERVER");
    if (server != nullptr && *server != '\0') line_.server = server;
    app_.footer(kFooter);
    app_.set_version_flag("--version", "lossctl " LOSSD_VERSION);
    AddLossCommand(Command::kEval, "eval", "Compute a loss");
    AddLossCommand(Command::kGrad, "grad", "Compute a loss and its gradients");
    AddLossCommand(Command::kValidate, "validate",
                   "Check a request, and compute nothing");
    AddLossCommand(Command::kExplain, "explain",
                   "Show how a loss comes about, sample by sample");
    AddBench();
    Add(Command::kLosses, "losses", "List the losses of the server");
    Add(Command::kDescribe, "describe", "Tell all about a loss")
        .add_option("LOSS", line_.loss.loss, "The loss")
        ->required();
    Add(Command::kInfo, "info", "Tell the server's version, devices, limits");
    Add(Command::kHealth, "health", "Tell whether the server is serving");
  }

  absl::StatusOr<std::variant<CommandLine, Notice>> Parse(
      const std::vector<std::string>& arguments) {
    // CLI11 reports by exceptions; none leave this function.
    try {
      std::vector<std::string> rest = TakeLossFlags(arguments);
      std::reverse(rest.begin(), rest.end());
      app_.parse(std::move(rest));
    } catch (const CLI::CallForHelp&) {
      return Notice{.text = HelpOfChosen()};
    } catch (const CLI::CallForVersion& version) {
      return Notice{.text = absl::StrCat(version.what(), "\n")};
    } catch (const CLI::ParseError& error) {
      return absl::InvalidArgumentError(error.what());
    }
    if (IsOfLoss(line_.command) && line_.loss.loss.empty()) {
      if (line_.help) return Notice{.text = HelpOfChosen()};
      return absl::InvalidArgumentError(
          "name a loss, as in lossctl grad mse_loss: lossctl losses lists "
          "them");
    }
    line_.help_text = HelpOfChosen();
    return Finish();
  }

 private:
  CLI::App& Add(Command command, const char* name, const char* description) {
    CLI::App& sub = *app_.add_subcommand(name, description);
    sub.callback([this, command] { line_.command = command; });
    sub.add_option("--server", line_.server,
                   "The server's HOST:PORT or unix:PATH (or LOSSCTL_SERVER)")
        ->capture_default_str();
    sub.add_option("--timeout", timeout_, "Seconds, or such as 500ms or 2m")
        ->capture_default_str();
    sub.add_option("--max-message-bytes", line_.max_message_bytes,
                   "Bytes of a request or an answer, at most")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    sub.add_flag("--json", line_.json, "Print JSON");
    return sub;
  }

  void AddLossCommand(Command command, const char* name,
                      const char* description) {
    CLI::App& sub = Add(command, name, description);
    LossOptions& loss = line_.loss;
    sub.set_help_flag();
    sub.add_flag("-h,--help", line_.help,
                 "Show this, with the tensors and parameters of LOSS");
    sub.add_option("LOSS", loss.loss, "The loss: lossctl losses lists them");
    sub.add_option("--reduction", loss.reduction,
                   "none, mean or sum; kl_div also batchmean");
    sub.add_option("--normalizer", loss.normalizer,
                   "What to divide by instead of the mean's denominator");
    sub.add_option("--dtype", loss.dtype,
                   "float16, bfloat16, float32 or float64: of all floating "
                   "tensors");
    sub.add_option("--device", loss.device, "cpu, cuda or any");
    sub.add_flag("--all-values", line_.full, "Show long tensors whole");
    if (command != Command::kExplain) {
      sub.add_option("--outputs", loss.outputs,
                     "What to send back, such as loss,elementwise_losses");
    }
    if (command == Command::kEval || command == Command::kGrad) {
      sub.add_option("--shared-memory", line_.shared_memory,
                     "Send tensors through memory shared with the server on "
                     "this machine: the address of its --shared-memory-listen, "
                     "with a --server unix:PATH");
    }
    if (command == Command::kEval) return;
    sub.add_option("--wrt", loss.wrt,
                   "The tensors to differentiate by, such as input,target");
    sub.add_option("--grad-output,--grad_output", loss.grad_output,
                   "The gradient of your objective by the loss: a tensor");
    sub.add_option("--gradient-dtype,--gradient_dtype", loss.gradient_dtype,
                   "The dtype of the gradients");
    if (command == Command::kGrad) {
      sub.add_option("--save-gradients", line_.save_gradients,
                     "Write each gradient to NAME.npy in this folder");
    }
  }

  void AddBench() {
    CLI::App& sub =
        Add(Command::kBench, "bench", "Load a server, and measure it");
    LossOptions& loss = line_.loss;
    sub.add_option("LOSS,--loss", loss.loss,
                   "The loss; several with commas between them, or all");
    sub.add_option("--reduction", loss.reduction, "As of grad");
    sub.add_option("--dtype", loss.dtype,
                   "float16, bfloat16, float32 or float64");
    sub.add_option("--device", loss.device, "cpu, cuda or any");
    sub.add_option("--wrt", loss.wrt, "As of grad");
    AddBenchFlags(sub, line_.bench);
    sub.footer(kBenchFooter);
  }

  // Moves the flags that the command does not know to the loss. CLI11 would
  // take the word after such a flag for a command where it is named like one.
  std::vector<std::string> TakeLossFlags(
      const std::vector<std::string>& arguments) {
    if (arguments.empty()) return arguments;
    const CLI::App* command = Find(arguments[0]);
    if (command == nullptr ||
        command->get_option_no_throw("--dtype") == nullptr) {
      return arguments;
    }
    std::vector<std::string> rest = {arguments[0]};
    for (size_t i = 1; i < arguments.size(); ++i) {
      const std::string& word = arguments[i];
      const size_t equals = word.find('=');
      const std::string flag = word.substr(0, equals);
      const bool has_next = i + 1 < arguments.size();
      if (!absl::StartsWith(word, "--") || word == "--") {
        rest.push_back(word);
      } else if (const CLI::Option* known = command->get_option_no_throw(flag);
                 known != nullptr) {
        rest.push_back(word);
        // Its value, whatever that looks like.
        if (known->get_items_expected_max() > 0 && equals == word.npos &&
            has_next) {
          rest.back() += "=" + arguments[++i];
        }
      } else {
        LossFlag loss_flag = {
            .name = absl::StrReplaceAll(flag.substr(2), {{"-", "_"}}),
            .value = std::nullopt};
        if (equals != word.npos) {
          loss_flag.value = word.substr(equals + 1);
        } else if (has_next && !absl::StartsWith(arguments[i + 1], "--")) {
          loss_flag.value = arguments[++i];
        }
        line_.loss.flags.push_back(std::move(loss_flag));
      }
    }
    return rest;
  }

  const CLI::App* Find(const std::string& name) const {
    for (const CLI::App* command : app_.get_subcommands(nullptr)) {
      if (command->get_name() == name) return command;
    }
    return nullptr;
  }

  std::string HelpOfChosen() const {
    const auto chosen = app_.get_subcommands();
    return chosen.empty() ? app_.help() : chosen[0]->help("lossctl");
  }

  absl::StatusOr<std::variant<CommandLine, Notice>> Finish() {
    const absl::StatusOr<absl::Duration> timeout =
        ParseSeconds("timeout", timeout_);
    if (!timeout.ok()) return timeout.status();
    line_.timeout = *timeout;
    if (line_.timeout <= absl::ZeroDuration()) {
      return absl::InvalidArgumentError("--timeout must be greater than 0");
    }
    if (line_.command == Command::kBench) {
      absl::StatusOr<LoadOptions> load = ToLoad(line_.bench, line_.loss.loss);
      if (!load.ok()) return load.status();
      line_.load = *std::move(load);
      line_.load.server = line_.server;
      line_.load.timeout = line_.timeout;
      line_.load.max_message_bytes = line_.max_message_bytes;
    }
    return std::move(line_);
  }

  CLI::App app_;
  CommandLine line_;
  std::string timeout_ = "60";
};

}  // namespace

absl::StatusOr<std::variant<CommandLine, Notice>> ParseCommandLine(
    const std::vector<std::string>& arguments) {
  return Parser().Parse(arguments);
}

}  // namespace lossd::cli
