// SPDX-License-Identifier: Apache-2.0

#include "server/telemetry/server_metrics.h"

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"

namespace lossd {
namespace {

// gRPC's codes, which absl::StatusCode shares.
constexpr size_t kCodes = 17;
constexpr std::array<const char*, 3> kStages = {"arrival", "queue", "run"};
constexpr std::array<const char*, 2> kWhys = {"cancelled", "expired"};

// Three buckets a decade, 10 us to 30 s.
const std::vector<double>& SecondsBounds() {
  static const auto* bounds = new std::vector<double>{
      1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2,
      2e-2, 5e-2, 0.1,  0.2,  0.5,  1,    2,    5,    10,   30};
  return *bounds;
}

ServerMetricsLabels Complete(ServerMetricsLabels labels) {
  labels.losses.push_back("none");
  labels.methods.push_back("other");
  labels.devices.push_back("other");
  labels.rejection_reasons.push_back("other");
  return labels;
}

// The last name stands for every index that is not one of the others.
size_t Index(int index, const std::vector<std::string>& names) {
  if (index < 0 || static_cast<size_t>(index) >= names.size()) {
    return names.size() - 1;
  }
  return static_cast<size_t>(index);
}

}  // namespace

ServerMetrics::ServerMetrics(MetricFactory& factory, ServerMetricsLabels labels,
                             const BuildInfo& build)
    : factory_(factory),
      labels_(Complete(std::move(labels))),
      in_flight_(factory.MakeGauge(
          "lossd_in_flight", "Calls that have arrived and not ended.", {})),
      queue_requests_(factory.MakeGauge("lossd_queue_requests",
                                        "Requests waiting in the queue.", {})),
      queue_bytes_(factory.MakeGauge("lossd_queue_bytes",
                                     "Bytes of the requests waiting.", {})),
      queue_seconds_(factory.MakeHistogram("lossd_queue_seconds",
                                           "How long a request waited.", {},
                                           SecondsBounds())),
      batch_requests_(factory.MakeHistogram(
          "lossd_batch_requests", "Requests in a batch.", {},
          {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024})),
      batch_rows_(factory.MakeHistogram(
          "lossd_batch_rows", "Rows or blocks of elements in a batch.", {},
          {1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576})),
      requests_(labels_.losses.size() * labels_.methods.size() * kCodes,
                [this](size_t i) -> Counter& { return MakeRequests(i); }),
      rejections_(labels_.rejection_reasons.size(),
                  [this](size_t i) -> Counter& { return MakeRejections(i); }),
      dropped_(kStages.size() * kWhys.size(),
               [this](size_t i) -> Counter& { return MakeDropped(i); }),
      non_finite_(labels_.losses.size(),
                  [this](size_t i) -> Counter& { return MakeNonFinite(i); }),
      compute_seconds_(
          labels_.losses.size() * labels_.devices.size(),
          [this](size_t i) -> Histogram& { return MakeComputeSeconds(i); }) {
  factory
      .MakeGauge("lossd_build_info", "1, labelled with what is running.",
                 {{"version", build.version},
                  {"numerics_version", absl::StrCat(build.numerics_version)},
                  {"target", build.target}})
      .Set(1);
  MakeSmallSets();
}

void ServerMetrics::MakeSmallSets() {
  for (size_t i = 0; i < labels_.rejection_reasons.size(); ++i) {
    rejections_.at(i);
  }
  for (size_t i = 0; i < kStages.size() * kWhys.size(); ++i) dropped_.at(i);
  for (size_t i = 0; i < labels_.losses.size(); ++i) non_finite_.at(i);
}

Counter& ServerMetrics::MakeRequests(size_t index) {
  auto code = static_cast<absl::StatusCode>(index % kCodes);
  size_t method = index / kCodes % labels_.methods.size();
  size_t loss = index / kCodes / labels_.methods.size();
  return factory_.MakeCounter("lossd_requests_total", "Calls that have ended.",
                              {{"loss", labels_.losses[loss]},
                               {"method", labels_.methods[method]},
                               {"code", absl::StatusCodeToString(code)}});
}

Counter& ServerMetrics::MakeRejections(size_t reason) {
  return factory_.MakeCounter("lossd_rejections_total",
                              "Calls that were refused.",
                              {{"reason", labels_.rejection_reasons[reason]}});
}

Counter& ServerMetrics::MakeDropped(size_t index) {
  return factory_.MakeCounter(
      "lossd_dropped_total",
      "Work dropped because nobody waited for it any more.",
      {{"stage", kStages[index / kWhys.size()]},
       {"why", kWhys[index % kWhys.size()]}});
}

Counter& ServerMetrics::MakeNonFinite(size_t loss) {
  return factory_.MakeCounter("lossd_non_finite_results_total",
                              "Results with NaN or infinity in them.",
                              {{"loss", labels_.losses[loss]}});
}

Histogram& ServerMetrics::MakeComputeSeconds(size_t index) {
  size_t device = index % labels_.devices.size();
  size_t loss = index / labels_.devices.size();
  return factory_.MakeHistogram(
      "lossd_compute_seconds", "How long a batch was computed.",
      {{"loss", labels_.losses[loss]}, {"device", labels_.devices[device]}},
      SecondsBounds());
}

void ServerMetrics::OnRequest(int loss, int method, absl::StatusCode code) {
  size_t row = Index(loss, labels_.losses) * labels_.methods.size() +
               Index(method, labels_.methods);
  auto column = static_cast<size_t>(code);
  if (column >= kCodes)
    column = static_cast<size_t>(absl::StatusCode::kUnknown);
  requests_.at(row * kCodes + column).Increment();
}

void ServerMetrics::OnRejection(int reason) {
  rejections_.at(Index(reason, labels_.rejection_reasons)).Increment();
}

void ServerMetrics::OnDropped(Stage stage, Why why) {
  dropped_
      .at(static_cast<size_t>(stage) * kWhys.size() + static_cast<size_t>(why))
      .Increment();
}

void ServerMetrics::OnNonFiniteResult(int loss) {
  non_finite_.at(Index(loss, labels_.losses)).Increment();
}

void ServerMetrics::OnBatch(int64_t requests, int64_t rows) {
  batch_requests_.Observe(static_cast<double>(requests));
  batch_rows_.Observe(static_cast<double>(rows));
}

void ServerMetrics::OnQueued(absl::Duration waited) {
  queue_seconds_.Observe(absl::ToDoubleSeconds(waited));
}

void ServerMetrics::OnComputed(int loss, int device, absl::Duration computing) {
  size_t index = Index(loss, labels_.losses) * labels_.devices.size() +
                 Index(device, labels_.devices);
  compute_seconds_.at(index).Observe(absl::ToDoubleSeconds(computing));
}

void ServerMetrics::SetInService(int device, bool in_service) {
  factory_
      .MakeGauge("lossd_device_in_service",
                 "1 while the device computes; 0 once it has failed.",
                 {{"device", labels_.devices[Index(device, labels_.devices)]}})
      .Set(in_service ? 1 : 0);
}

}  // namespace lossd
