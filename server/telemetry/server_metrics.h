// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_TELEMETRY_SERVER_METRICS_H_
#define LOSSD_SERVER_TELEMETRY_SERVER_METRICS_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/telemetry/metrics.h"

namespace lossd {

// The values that the labels of ServerMetrics can have. Callers name them by
// their index here; any other index counts as "none" for a loss and as "other"
// elsewhere, so that no caller of the server can make label values up.
struct ServerMetricsLabels {
  std::vector<std::string> losses;
  std::vector<std::string> methods;
  std::vector<std::string> devices;
  std::vector<std::string> rejection_reasons;
};

// Of lossd_build_info.
struct BuildInfo {
  std::string version;
  int numerics_version = 0;
  std::string target;  // The instruction set in use.
};

// What lossd counts about its work: the metrics lossd_*, made once.
//
// Thread-safe. Recording costs tens of nanoseconds and neither allocates nor
// looks names up, except that the first use of a loss with a method and a code,
// or with a device, makes its metric.
class ServerMetrics {
 public:
  // For a loss that is not known or a call that has none.
  static constexpr int kNoLoss = -1;

  // Where work was dropped that nobody waits for any more.
  enum class Stage {
    kArrival,  // Before it was queued.
    kQueue,    // While it was queued.
    kRun,      // In a batch that was about to run.
  };
  // Why nobody does.
  enum class Why { kCancelled, kExpired };

  // `factory` must outlive this.
  ServerMetrics(MetricFactory& factory, ServerMetricsLabels labels,
                const BuildInfo& build);
  ServerMetrics(const ServerMetrics&) = delete;
  ServerMetrics& operator=(const ServerMetrics&) = delete;

  // A call ended.
  void OnRequest(int loss, int method, absl::StatusCode code);
  // A call was refused, whatever its code.
  void OnRejection(int reason);
  // Work was dropped without being computed.
  void OnDropped(Stage stage, Why why);
  // A result has NaN or infinity in it.
  void OnNonFiniteResult(int loss);
  // A batch was formed.
  void OnBatch(int64_t requests, int64_t rows);
  // A request left the queue after this time.
  void OnQueued(absl::Duration waited);
  // A batch of this loss was computed in this time.
  void OnComputed(int loss, int device, absl::Duration computing);

  // The device computes, or has failed.
  void SetInService(int device, bool in_service);

  // Levels, set by those who know them. Calls that have arrived and not ended:
  Gauge& in_flight() { return in_flight_; }
  // Requests that wait, and their bytes:
  Gauge& queue_requests() { return queue_requests_; }
  Gauge& queue_bytes() { return queue_bytes_; }

 private:
  // Metrics by index, each made when first used. `make` is thread-safe and
  // gives the same metric for the same index.
  template <typename Metric>
  class Made {
   public:
    Made(size_t size, std::function<Metric&(size_t)> make)
        : slots_(std::make_unique<std::atomic<Metric*>[]>(size)),
          make_(std::move(make)) {}

    Metric& at(size_t index) {
      Metric* metric = slots_[index].load(std::memory_order_acquire);
      if (metric == nullptr) {
        metric = &make_(index);
        slots_[index].store(metric, std::memory_order_release);
      }
      return *metric;
    }

   private:
    std::unique_ptr<std::atomic<Metric*>[]> slots_;
    std::function<Metric&(size_t)> make_;
  };

  Counter& MakeRequests(size_t index);
  Counter& MakeRejections(size_t reason);
  Counter& MakeDropped(size_t index);
  Counter& MakeNonFinite(size_t loss);
  Histogram& MakeComputeSeconds(size_t index);
  // Makes those whose number is small, so that they are read as 0 from the
  // start.
  void MakeSmallSets();

  MetricFactory& factory_;
  // With "none" or "other" appended to each.
  const ServerMetricsLabels labels_;

  Gauge& in_flight_;
  Gauge& queue_requests_;
  Gauge& queue_bytes_;
  Histogram& queue_seconds_;
  Histogram& batch_requests_;
  Histogram& batch_rows_;
  Made<Counter> requests_;
  Made<Counter> rejections_;
  Made<Counter> dropped_;
  Made<Counter> non_finite_;
  Made<Histogram> compute_seconds_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_TELEMETRY_SERVER_METRICS_H_
