// SPDX-License-Identifier: Apache-2.0
#include "client/cli/bench/bench.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <malloc.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "client/cli/text.h"
#include "lossd/v1/loss_service.pb.h"

namespace lossd::cli {
namespace {

struct NamedShare {
  const char* name;
  double share;
};
constexpr NamedShare kShares[] = {
    {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}};

// The first results, by payload.
struct FirstResults {
  absl::Mutex mutex;
  std::vector<std::string> bytes;
};

template <typename Response>
std::string CompareAnswer(const grpc::ByteBuffer& answer, size_t payload,
                          FirstResults& first) {
  Response response;
  grpc::ByteBuffer copy(answer);
  if (!grpc::SerializationTraits<Response>::Deserialize(&copy, &response)
           .ok()) {
    return "the answer cannot be parsed";
  }
  if (!response.has_result()) return "the answer has no result";
  std::string result = response.result().SerializeAsString();
  const absl::MutexLock lock(&first.mutex);
  std::string& known = first.bytes[payload];
  if (known.empty())
    known = std::move(result);
  else if (known != result) {
    return absl::StrCat("two results of request ", payload, " differ");
  }
  return "";
}

// "76,098"; below 100, three significant digits.
std::string WithCommas(double value) {
  if (value < 100) return absl::StrFormat("%.3g", value);
  const std::string digits = absl::StrFormat("%.0f", value);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

std::string TimeText(int64_t ns) {
  const auto value = static_cast<double>(ns);
  if (ns < 1'000'000) return absl::StrFormat("%.4g µs", value / 1e3);
  if (ns < 1'000'000'000) return absl::StrFormat("%.4g ms", value / 1e6);
  return absl::StrFormat("%.4g s", value / 1e9);
}

std::string Counted(int64_t count, absl::string_view what) {
  return absl::StrCat(WithCommas(static_cast<double>(count)), " ", what,
                      count == 1 ? "" : "s");
}

std::string LoadText(const LoadOptions& options) {
  const std::string loop =
      options.calls_per_s.has_value()
          ? absl::StrCat("open loop, ", WithCommas(*options.calls_per_s),
                         " calls/s")
          : absl::StrCat("closed loop, ", Counted(options.concurrency, "call"),
                         " open");
  return absl::StrCat(loop, ", ", Counted(options.connections, "connection"),
                      ", ", Counted(options.threads, "thread"), ", ",
                      absl::FormatDuration(options.duration), " after ",
                      absl::FormatDuration(options.warm_up));
}

double MeanBytes(const std::vector<std::string>& payloads) {
  double bytes = 0;
  for (const std::string& payload : payloads) {
    bytes += static_cast<double>(payload.size());
  }
  return bytes / static_cast<double>(payloads.size());
}

std::string MegabytesText(int64_t bytes, double seconds) {
  return absl::StrCat(WithCommas(static_cast<double>(bytes) / seconds / 1e6),
                      " MB/s");
}

std::string LatencyTable(const LatencyHistogram& latency) {
  Table table;
  std::vector<std::string> cells;
  for (const NamedShare& named : kShares) {
    table.AddColumn(named.name, Table::Align::kRight);
    cells.push_back(TimeText(latency.QuantileNs(named.share)));
  }
  table.AddColumn("max", Table::Align::kRight);
  cells.push_back(TimeText(latency.max_ns()));
  table.AddRow(std::move(cells));
  return table.ToString();
}

}  // namespace

AnswerCheck NewAnswerCheck(const std::string& method, size_t payloads) {
  auto first = std::make_shared<FirstResults>();
  first->bytes.resize(payloads);
  const bool gradient = absl::EndsWith(method, "ComputeGradient");
  return [first, gradient](size_t payload, const grpc::ByteBuffer& answer) {
    return gradient ? CompareAnswer<v1::ComputeGradientResponse>(
                          answer, payload, *first)
                    : CompareAnswer<v1::ComputeLossResponse>(answer, payload,
                                                             *first);
  };
}

std::string BenchPage(const LoadOptions& options, const Payloads& payloads,
                      const LoadReport& report) {
  std::string page = absl::StrCat(
      "server    ", options.server, " ", options.method, "\nrequests  ",
      payloads.bytes.size(), " in turn, ",
      WithCommas(MeanBytes(payloads.bytes)),
      " bytes in the mean: ", payloads.title, "\nload      ", LoadText(options),
      "\n\ncalls/s   ",
      WithCommas(static_cast<double>(report.calls) / report.seconds),
      "\nsent      ", MegabytesText(report.request_bytes, report.seconds),
      "\nreceived  ", MegabytesText(report.answer_bytes, report.seconds),
      "\nerrors    ", report.ErrorCount(), "\n");
  for (const auto& [code, failures] : report.errors) {
    absl::StrAppend(&page, "  ", failures.count, " ", code, ": ",
                    failures.first_message, "\n");
  }
  if (report.not_started > 0) {
    absl::StrAppend(&page, "late      ", report.not_started,
                    " calls that were due did not start: the rate is more than "
                    "the server, or this program, can do\n");
  }
  absl::StrAppend(
      &page, "\nlatency of ", Counted(report.latency.count(), "call"),
      options.calls_per_s.has_value() ? ", from when each should have started"
                                      : "",
      "\n", LatencyTable(report.latency));
  return page;
}

std::string BenchJson(const LoadOptions& options, const Payloads& payloads,
                      const LoadReport& report) {
  using Json = nlohmann::ordered_json;
  const auto per_s = [&](int64_t count) {
    return static_cast<double>(count) / report.seconds;
  };
  const auto per_call = [&](int64_t bytes) {
    return report.calls == 0
               ? 0.0
               : static_cast<double>(bytes) / static_cast<double>(report.calls);
  };
  Json latency = Json::object();
  for (const NamedShare& named : kShares) {
    latency[named.name] =
        static_cast<double>(report.latency.QuantileNs(named.share)) / 1e3;
  }
  latency["max"] = static_cast<double>(report.latency.max_ns()) / 1e3;
  Json errors = Json::object();
  for (const auto& [code, failures] : report.errors) {
    errors[code] = {{"count", failures.count},
                    {"first_message", failures.first_message}};
  }
  Json json = {
      {"server", options.server},
      {"method", options.method},
      {"requests", payloads.title},
      {"payloads", payloads.bytes.size()},
      {"loop", options.calls_per_s.has_value() ? "open" : "closed"},
      {"connections", options.connections},
      {"threads", options.threads},
      {"seconds", report.seconds},
      {"calls", report.calls},
      {"calls_per_s", per_s(report.calls)},
      {"sent_bytes_per_s", per_s(report.request_bytes)},
      {"received_bytes_per_s", per_s(report.answer_bytes)},
      {"request_bytes", per_call(report.request_bytes)},
      {"answer_bytes", per_call(report.answer_bytes)},
      {"latency_us", std::move(latency)},
      {"latencies", report.latency.count()},
      {"errors", report.ErrorCount()},
      {"errors_by_code", std::move(errors)},
      {"not_started", report.not_started},
      {"all_calls", report.all_calls},
      {"own_cpu_us",
       report.cpu_seconds * 1e6 /
           static_cast<double>(std::max<int64_t>(report.all_calls, 1))},
      {"grpc", grpc::Version()},
      {"compiler", absl::StrCat("g++ ", __VERSION__)},
  };
  if (options.calls_per_s.has_value()) {
    json["rate"] = *options.calls_per_s;
  } else {
    json["concurrency"] = options.concurrency;
  }
  // Messages of a server may hold anything.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void PrepareForLoad() {
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  mallopt(M_ARENA_MAX, 4);
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

}  // namespace lossd::cli
