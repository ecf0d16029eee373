// SPDX-License-Identifier: Apache-2.0
#include "client/cli/bench/options.h"

#include <CLI/CLI.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/number.h"

namespace lossd::cli {
namespace {

constexpr char kGradientMethod[] = "/lossd.v1.LossService/ComputeGradient";
constexpr char kLossMethod[] = "/lossd.v1.LossService/ComputeLoss";
constexpr double kHighestRate = 1e7;
constexpr absl::Duration kLongest = absl::Hours(24);

absl::Status OutOfRange(absl::string_view flag, int64_t value, int64_t most,
                        absl::string_view fix) {
  return absl::InvalidArgumentError(absl::StrCat(
      "--", flag, " ", value, " is outside [1, ", most, "]: ", fix));
}

absl::Status CheckCounts(const BenchOptions& options) {
  struct Count {
    const char* flag;
    int64_t value;
    int64_t most;
    const char* fix;
  };
  const Count counts[] = {
      {"concurrency", options.concurrency.value_or(1), 100'000,
       "it is how many calls are open at a time"},
      {"max-open", options.max_open, 1'000'000,
       "it is how many calls of an open loop may be open at a time"},
      {"connections", options.connections, 10'000, "1 is what one client has"},
      {"threads", options.threads, 256, "1 is enough for most servers"},
      {"payloads", options.payloads, 10'000,
       "it is how many different requests are sent in turn"},
      {"classes", options.classes.value_or(1), int64_t{1} << 31,
       "it is the size of the dimension of classes"},
  };
  for (const Count& count : counts) {
    if (count.value < 1 || count.value > count.most) {
      return OutOfRange(count.flag, count.value, count.most, count.fix);
    }
  }
  return absl::OkStatus();
}

// Calls that can never be used leave connections and threads without one.
absl::Status CheckEnoughCalls(const BenchOptions& options, int64_t open) {
  const std::string limit = options.rate.has_value()
                                ? absl::StrCat("--max-open ", open)
                                : absl::StrCat("--concurrency ", open);
  for (const auto& [flag, value] :
       {std::pair("connections", options.connections),
        std::pair("threads", options.threads)}) {
    if (value > open) {
      return absl::InvalidArgumentError(
          absl::StrCat("--", flag, " ", value, " is more than ", limit,
                       " can use: give at most ", open, " or more calls"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckSource(const BenchOptions& options, const std::string& loss) {
  if (loss.empty() == options.payload_files.empty()) {
    return absl::InvalidArgumentError(
        loss.empty()
            ? "name a loss, as in lossctl bench cross_entropy --shape 32x1000, "
              "or give requests with --payload FILE"
            : "a loss and --payload exclude one another: leave one out");
  }
  if (options.payload_files.empty()) return absl::OkStatus();
  if (!options.shapes.empty() || options.classes.has_value()) {
    return absl::InvalidArgumentError(
        "--shape and --classes make requests, and --payload has them: leave "
        "one out");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> MethodName(const BenchOptions& options) {
  if (!options.call.empty()) {
    const size_t slash = options.call.find('/', 1);
    if (options.call[0] != '/' || slash == std::string::npos || slash == 1 ||
        slash + 1 == options.call.size()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--call '", options.call, "' is not /PACKAGE.SERVICE/METHOD, as in ",
          kLossMethod));
    }
    return options.call;
  }
  if (options.method == "gradient") return std::string(kGradientMethod);
  if (options.method == "loss") return std::string(kLossMethod);
  return absl::InvalidArgumentError(
      absl::StrCat("--method '", options.method,
                   "' is neither loss nor gradient: name another method with "
                   "--call /PACKAGE.SERVICE/METHOD"));
}

}  // namespace

void AddBenchFlags(CLI::App& command, BenchOptions& options) {
  command
      .add_option(
          "--shape", options.shapes,
          "The shape of the loss's first tensor, such as 32x1000, which "
          "it is if none is given; of several, each in turn")
      ->delimiter(',');
  command.add_option("--classes", options.classes,
                     "Adds the dimension of classes to --shape");
  command
      .add_option("--payloads", options.payloads,
                  "Different requests of each loss and shape, sent in turn")
      ->capture_default_str();
  command.add_option("--seed", options.seed, "What their numbers follow from")
      ->capture_default_str();
  command.add_option("--method", options.method, "gradient or loss")
      ->capture_default_str();
  command.add_option("--concurrency", options.concurrency,
                     "Closed loop: calls that are open at any time [16]");
  command.add_option("--rate", options.rate,
                     "Open loop: calls/s, started on time whatever the server "
                     "does; latencies count from there");
  command
      .add_option("--max-open", options.max_open,
                  "Open loop: calls open at a time; more wait")
      ->capture_default_str();
  command.add_option("--connections", options.connections, "Of TCP")
      ->capture_default_str();
  command.add_option("--threads", options.threads, "Completion queues")
      ->capture_default_str();
  command.add_option("--duration", options.duration, "As --timeout")
      ->capture_default_str();
  command
      .add_option("--warm-up", options.warm_up,
                  "As --timeout; before the duration, and not counted")
      ->capture_default_str();
  command.add_flag("--check", options.check,
                   "Parse each answer, and compare it with the first one to "
                   "the same request");
  command.add_flag("--announce", options.announce,
                   "Send each request's size in its headers, as clients do");
  command.add_option("--payload", options.payload_files,
                     "Send the bytes of this file, instead of a LOSS");
  command.add_option("--call", options.call,
                     "Call /PACKAGE.SERVICE/METHOD, of any server");
  command.add_option("--save-payloads", options.save_payloads,
                     "Write the requests to this folder for --payload, and "
                     "call nothing");
}

absl::StatusOr<absl::Duration> ParseSeconds(absl::string_view flag,
                                            const std::string& text) {
  absl::Duration duration;
  if (const std::optional<double> seconds = ParseDouble(text)) {
    duration = absl::Seconds(*seconds);
  } else if (!absl::ParseDuration(text, &duration)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--", flag, ": '", text,
                     "' is neither seconds nor such as 500ms or 2m"));
  }
  return duration;
}

absl::StatusOr<LoadOptions> ToLoad(const BenchOptions& options,
                                   const std::string& loss) {
  if (absl::Status status = CheckSource(options, loss); !status.ok()) {
    return status;
  }
  if (absl::Status status = CheckCounts(options); !status.ok()) return status;
  LoadOptions load;
  absl::StatusOr<std::string> method = MethodName(options);
  if (!method.ok()) return method.status();
  load.method = *std::move(method);
  if (options.check && load.method != kGradientMethod &&
      load.method != kLossMethod) {
    return absl::InvalidArgumentError(
        absl::StrCat("--check knows the answers of lossd, not of ", load.method,
                     ": leave it out"));
  }
  if (options.rate.has_value()) {
    if (options.concurrency.has_value()) {
      return absl::InvalidArgumentError(
          "--rate and --concurrency exclude one another: an open loop starts "
          "calls at a rate, a closed loop when others end; --max-open limits "
          "the calls of an open loop");
    }
    if (!(*options.rate > 0 && *options.rate <= kHighestRate)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--rate ", *options.rate, " is outside (0, ",
                       kHighestRate, "]: it is calls/s"));
    }
    load.calls_per_s = options.rate;
  }
  const auto duration = ParseSeconds("duration", options.duration);
  if (!duration.ok()) return duration.status();
  const auto warm_up = ParseSeconds("warm-up", options.warm_up);
  if (!warm_up.ok()) return warm_up.status();
  if (*duration <= absl::ZeroDuration() || *duration > kLongest) {
    return absl::InvalidArgumentError(
        absl::StrCat("--duration ", options.duration,
                     " is outside (0, 24h]: it is how long calls count"));
  }
  if (*warm_up < absl::ZeroDuration() || *warm_up > kLongest) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--warm-up ", options.warm_up,
        " is outside [0, 24h]: it is how long calls do not count yet"));
  }
  load.concurrency = static_cast<int>(options.concurrency.value_or(16));
  load.max_open = static_cast<int>(options.max_open);
  load.connections = static_cast<int>(options.connections);
  load.announce = options.announce;
  load.threads = static_cast<int>(options.threads);
  load.duration = *duration;
  load.warm_up = *warm_up;
  const absl::Status enough = CheckEnoughCalls(
      options, load.calls_per_s.has_value() ? load.max_open : load.concurrency);
  if (!enough.ok()) return enough;
  return load;
}

}  // namespace lossd::cli
