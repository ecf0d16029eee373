// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_TELEMETRY_INERT_METRICS_H_
#define LOSSD_SERVER_TELEMETRY_INERT_METRICS_H_

#include "server/telemetry/metrics.h"

namespace lossd {

// Metrics that nobody reads, for tests and benchmarks of what records them.
// Recording does nothing; `refresh` functions are never called.
class InertMetrics final : public MetricFactory {
 public:
  Counter& MakeCounter(const std::string&, const std::string&,
                       const Labels&) override {
    return counter_;
  }
  Gauge& MakeGauge(const std::string&, const std::string&,
                   const Labels&) override {
    return gauge_;
  }
  Histogram& MakeHistogram(const std::string&, const std::string&,
                           const Labels&, const std::vector<double>&) override {
    return histogram_;
  }
  void BeforeReading(std::function<void()>) override {}

 private:
  struct InertCounter final : Counter {
    void Add(double) override {}
  };
  struct InertGauge final : Gauge {
    void Set(double) override {}
    void Add(double) override {}
  };
  struct InertHistogram final : Histogram {
    void Observe(double) override {}
  };

  InertCounter counter_;
  InertGauge gauge_;
  InertHistogram histogram_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_TELEMETRY_INERT_METRICS_H_
