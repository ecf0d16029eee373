// SPDX-License-Identifier: Apache-2.0
#include "client/cli/lossctl.h"

#include <fstream>
#include <optional>
#include <variant>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/bench/bench.h"
#include "client/cli/bench/load.h"
#include "client/cli/bench/requests.h"
#include "client/cli/command_line.h"
#include "client/cli/describe.h"
#include "client/cli/evaluation.h"
#include "client/cli/explain.h"
#include "client/cli/json.h"
#include "client/cli/npy.h"
#include "client/cli/schema.h"
#include "client/cli/shared_request.h"
#include "client/cli/text.h"
#include "lossd/client.h"

namespace lossd::cli {
namespace {

// How a command went: what it prints, or why not and with which exit status.
struct Outcome {
  std::string output;
  absl::Status status;
  int exit_status = kOk;
};

Outcome Printed(std::string output) {
  return {.output = std::move(output),
          .status = absl::OkStatus(),
          .exit_status = kOk};
}

Outcome Printed(absl::StatusOr<std::string> output) {
  if (output.ok()) return Printed(*std::move(output));
  return {.output = "", .status = output.status(), .exit_status = kCallFailed};
}

Outcome JsonLine(absl::StatusOr<std::string> json) {
  if (json.ok()) absl::StrAppend(&*json, "\n");
  return Printed(std::move(json));
}

Outcome Failed(absl::Status status) {
  return {
      .output = "", .status = std::move(status), .exit_status = kCallFailed};
}

Outcome Misused(absl::Status status) {
  return {.output = "", .status = std::move(status), .exit_status = kUsage};
}

// Whether it was the command line, not a server.
bool IsMisuse(const absl::Status& status) {
  return GetErrorDetails(status).reason.empty() &&
         (absl::IsInvalidArgument(status) || absl::IsNotFound(status));
}

// One command over one client.
class Runner {
 public:
  Runner(const CommandLine& line, std::istream& input)
      : line_(line),
        source_(input),
        client_(line.server, {.max_message_bytes = line.max_message_bytes,
                              .timeout = line.timeout,
                              .user_agent = "lossctl/" LOSSD_VERSION}) {}

  Outcome Run() {
    switch (line_.command) {
      case Command::kEval:
      case Command::kGrad:
      case Command::kValidate:
      case Command::kExplain:
        return RunLoss();
      case Command::kLosses:
        return Losses();
      case Command::kDescribe:
        return Describe();
      case Command::kInfo:
        return Info();
      case Command::kBench:
        return Bench();
      default:
        return CheckHealth();
    }
  }

 private:
  Outcome RunLoss() {
    if (auto field = FindLoss(line_.loss.loss); !field.ok()) {
      return Misused(field.status());
    }
    if (line_.help) return Help();
    auto losses = client_.ListLosses();
    if (!losses.ok()) return Failed(losses.status());
    const v1::LossDescriptor* descriptor =
        FindDescriptor(*losses, line_.loss.loss);
    if (descriptor == nullptr) return Failed(NotOnServer());
    if (line_.command == Command::kEval) return Eval(*descriptor);
    if (line_.command != Command::kExplain) return Grad(*descriptor);
    return RunExplain(*descriptor);
  }

  Outcome Help() {
    Client patient(line_.server,
                   {.timeout = absl::Seconds(3), .retry = {.max_attempts = 1}});
    auto losses = patient.ListLosses();
    const v1::LossDescriptor* found =
        losses.ok() ? FindDescriptor(*losses, line_.loss.loss) : nullptr;
    if (found != nullptr) {
      return Printed(absl::StrCat(line_.help_text, "\n", FlagsPage(*found)));
    }
    return Printed(absl::StrCat(
        line_.help_text, "\n",
        FlagsPage(DescriptorFromMessage(line_.loss.loss)), "\n", line_.server,
        " did not say more: with a server, defaults and ranges are shown.\n"));
  }

  Outcome Eval(const v1::LossDescriptor& descriptor) {
    v1::ComputeLossRequest request;
    auto evaluation = BuildEvaluation(line_.loss, descriptor, source_);
    if (!evaluation.ok()) return Misused(evaluation.status());
    *request.mutable_evaluation() = *std::move(evaluation);
    std::optional<SharedMemory> memory;
    if (!line_.shared_memory.empty()) {
      auto shared = ShareTensors(line_.shared_memory, request);
      if (!shared.ok()) return Failed(shared.status());
      memory = *std::move(shared);
    }
    auto response = client_.ComputeLoss(request);
    if (!response.ok()) return Failed(response.status());
    return Answer(descriptor, request.evaluation(), *response);
  }

  Outcome Grad(const v1::LossDescriptor& descriptor) {
    auto request = BuildGradientRequest(line_.loss, descriptor, source_);
    if (!request.ok()) return Misused(request.status());
    request->mutable_evaluation()->set_validate_only(line_.command ==
                                                     Command::kValidate);
    std::optional<SharedMemory> memory;
    if (!line_.shared_memory.empty()) {
      auto shared = ShareTensors(line_.shared_memory, descriptor, *request);
      if (!shared.ok()) return Failed(shared.status());
      memory = *std::move(shared);
    }
    auto response = client_.ComputeGradient(*request);
    if (!response.ok()) return Failed(response.status());
    if (memory.has_value()) {
      FetchGradients(*memory, *response->mutable_result());
    }
    if (absl::Status saved = SaveGradients(response->result()); !saved.ok()) {
      return Misused(saved);
    }
    return Answer(descriptor, request->evaluation(), *response);
  }

  Outcome RunExplain(const v1::LossDescriptor& descriptor) {
    auto request = BuildGradientRequest(line_.loss, descriptor, source_);
    if (!request.ok()) return Misused(request.status());
    *request->mutable_evaluation()->mutable_outputs() = descriptor.outputs();
    auto response = client_.ComputeGradient(*request);
    if (!response.ok()) return Failed(response.status());
    if (line_.json) {
      return JsonLine(JsonResult(response->result(), response->execution()));
    }
    return Printed(Explain(descriptor, *request, *response, line_.full));
  }

  template <typename Response>
  Outcome Answer(const v1::LossDescriptor& descriptor,
                 const v1::Evaluation& evaluation, const Response& response) {
    if (line_.json) {
      return JsonLine(JsonResult(response.result(), response.execution()));
    }
    const v1::Reduction reduction =
        evaluation.reduction() == v1::REDUCTION_UNSPECIFIED
            ? descriptor.default_reduction()
            : evaluation.reduction();
    return Printed(
        FormatResult(absl::StrCat(descriptor.name(), ", reduction ",
                                  absl::AsciiStrToLower(ShortName(reduction))),
                     response.result(), line_.full));
  }

  absl::Status SaveGradients(const v1::Result& result) const {
    if (line_.save_gradients.empty()) return absl::OkStatus();
    for (const v1::Gradient& gradient : result.gradients()) {
      absl::StatusOr<std::string> bytes = EncodeNpy(gradient.value());
      if (!bytes.ok()) return bytes.status();
      const std::string path =
          absl::StrCat(line_.save_gradients, "/", gradient.wrt(), ".npy");
      std::ofstream file(path, std::ios::binary);
      file << *bytes;
      if (!file.flush()) {
        return absl::NotFoundError(absl::StrCat("cannot write ", path));
      }
    }
    return absl::OkStatus();
  }

  Outcome Losses() {
    auto losses = client_.ListLosses();
    if (!losses.ok()) return Failed(losses.status());
    return line_.json ? JsonLine(JsonMessage(*losses))
                      : Printed(LossTable(*losses));
  }

  Outcome Describe() {
    auto losses = client_.ListLosses();
    if (!losses.ok()) return Failed(losses.status());
    const v1::LossDescriptor* loss = FindDescriptor(*losses, line_.loss.loss);
    if (loss == nullptr) {
      auto field = FindLoss(line_.loss.loss);
      return field.ok() ? Failed(NotOnServer()) : Misused(field.status());
    }
    return line_.json ? JsonLine(JsonMessage(*loss)) : Printed(LossPage(*loss));
  }

  Outcome Info() {
    auto info = client_.GetServerInfo();
    if (!info.ok()) return Failed(info.status());
    return line_.json ? JsonLine(JsonMessage(*info)) : Printed(InfoPage(*info));
  }

  absl::StatusOr<Payloads> BenchPayloads() {
    if (!line_.bench.payload_files.empty()) {
      return ReadPayloads(line_.bench.payload_files);
    }
    auto losses = client_.ListLosses();
    if (!losses.ok()) return losses.status();
    return MakePayloads(line_.loss, line_.bench, *losses, source_);
  }

  Outcome Bench() {
    const auto payloads = BenchPayloads();
    if (!payloads.ok()) {
      return IsMisuse(payloads.status()) ? Misused(payloads.status())
                                         : Failed(payloads.status());
    }
    if (!line_.bench.save_payloads.empty()) {
      auto written = SavePayloads(*payloads, line_.bench.save_payloads);
      if (!written.ok()) return Misused(written.status());
      return Printed(*std::move(written));
    }
    PrepareForLoad();
    const auto report =
        RunLoad(line_.load, payloads->bytes,
                line_.bench.check
                    ? NewAnswerCheck(line_.load.method, payloads->bytes.size())
                    : nullptr);
    if (!report.ok()) return Failed(report.status());
    Outcome outcome = line_.json
                          ? JsonLine(BenchJson(line_.load, *payloads, *report))
                          : Printed(BenchPage(line_.load, *payloads, *report));
    if (report->ErrorCount() > 0) outcome.exit_status = kCallFailed;
    return outcome;
  }

  Outcome CheckHealth() {
    auto health = client_.Check();
    if (!health.ok()) return Failed(health.status());
    const char* text = *health == Health::kServing      ? "SERVING"
                       : *health == Health::kNotServing ? "NOT_SERVING"
                                                        : "UNKNOWN";
    Outcome outcome = Printed(
        line_.json ? absl::StrCat("{\"status\": ", JsonString(text), "}\n")
                   : absl::StrCat(text, "\n"));
    outcome.exit_status = *health == Health::kServing ? kOk : kCallFailed;
    return outcome;
  }

  absl::Status NotOnServer() const {
    return absl::FailedPreconditionError(
        absl::StrCat("the server at ", line_.server, " does not have ",
                     line_.loss.loss, ": lossctl losses lists what it has"));
  }

  const CommandLine& line_;
  Source source_;
  Client client_;
};

// What to do about an error that no server explained.
std::string Advice(const CommandLine& line, const absl::Status& status) {
  if (absl::IsUnavailable(status) && GetErrorDetails(status).reason.empty()) {
    return absl::StrCat(
        "  Is lossd running? Start it with: lossd --listen ", line.server,
        "\n  or name another with --server HOST:PORT or LOSSCTL_SERVER.\n");
  }
  if (absl::IsDeadlineExceeded(status)) {
    return absl::StrCat("  No answer from ", line.server, " within ",
                        absl::FormatDuration(line.timeout),
                        ": allow more with --timeout.\n");
  }
  return "";
}

void PrintCallError(const CommandLine& line, const absl::Status& status,
                    std::ostream& error) {
  const ErrorDetails details = GetErrorDetails(status);
  error << "lossctl: " << absl::StatusCodeToString(status.code());
  if (!details.reason.empty()) error << " (" << details.reason << ")";
  error << ": " << status.message() << "\n";
  for (const Violation& violation : details.violations) {
    // A single violation is usually the message itself, after its reason.
    if (details.violations.size() == 1 &&
        absl::EndsWith(violation.description, status.message())) {
      error << "  in " << violation.field << "\n";
    } else {
      error << "  " << violation.field << ": " << violation.description << "\n";
    }
  }
  for (const auto& [key, value] : details.metadata) {
    error << "  " << key << " = " << value << "\n";
  }
  if (details.retry_delay.has_value()) {
    error << "  retry after " << absl::FormatDuration(*details.retry_delay)
          << "\n";
  }
  error << Advice(line, status);
}

}  // namespace

int RunLossctl(const std::vector<std::string>& arguments, std::istream& input,
               std::ostream& output, std::ostream& error) {
  auto parsed = ParseCommandLine(arguments);
  if (!parsed.ok()) {
    error << "lossctl: " << parsed.status().message()
          << "\nlossctl --help tells more\n";
    return kUsage;
  }
  if (const auto* message = std::get_if<Notice>(&*parsed)) {
    output << message->text;
    return kOk;
  }
  const auto& line = std::get<CommandLine>(*parsed);
  const Outcome outcome = Runner(line, input).Run();
  if (outcome.status.ok()) {
    output << outcome.output << std::flush;
    if (output) return outcome.exit_status;
    error << "lossctl: cannot write the answer\n";
    return kUsage;
  }
  if (line.json) output << JsonError(outcome.status) << "\n";
  if (outcome.exit_status == kUsage) {
    error << "lossctl: " << outcome.status.message() << "\n";
  } else {
    PrintCallError(line, outcome.status, error);
  }
  return outcome.exit_status;
}

}  // namespace lossd::cli
