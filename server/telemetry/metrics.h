// SPDX-License-Identifier: Apache-2.0
//
// Metrics as the rest of the server sees them: no registry, no format.

#ifndef LOSSD_SERVER_TELEMETRY_METRICS_H_
#define LOSSD_SERVER_TELEMETRY_METRICS_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace lossd {

// What only grows. Like the other two, thread-safe, and tens of nanoseconds a
// call.
class Counter {
 public:
  virtual ~Counter() = default;
  // `amount` is not negative.
  virtual void Add(double amount) = 0;
  void Increment() { Add(1); }
};

// A level.
class Gauge {
 public:
  virtual ~Gauge() = default;
  virtual void Set(double value) = 0;
  virtual void Add(double amount) = 0;
};

// A distribution, as counts of the observations up to each bound, and their
// sum.
class Histogram {
 public:
  virtual ~Histogram() = default;
  virtual void Observe(double value) = 0;
};

// Names and values, in any order.
using Labels = std::vector<std::pair<std::string, std::string>>;

// Makes metrics. A name belongs to one kind of metric, one help text and one
// set of label names; each choice of label values is a metric of its own, and
// asking for it again gives the same one. Names and label names follow
// Prometheus's rules.
//
// Thread-safe. Making a metric allocates and locks: do it once and keep the
// reference, which is valid as long as the factory.
class MetricFactory {
 public:
  virtual ~MetricFactory() = default;
  virtual Counter& MakeCounter(const std::string& name, const std::string& help,
                               const Labels& labels) = 0;
  virtual Gauge& MakeGauge(const std::string& name, const std::string& help,
                           const Labels& labels) = 0;
  // `bounds` are the buckets' inclusive upper bounds, ascending.
  virtual Histogram& MakeHistogram(const std::string& name,
                                   const std::string& help,
                                   const Labels& labels,
                                   const std::vector<double>& bounds) = 0;

  // Has `refresh` called before the metrics are read, to set gauges that are
  // cheaper to ask for than to keep up to date. It must be callable, from any
  // thread but one at a time, as long as the factory.
  virtual void BeforeReading(std::function<void()> refresh) = 0;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_TELEMETRY_METRICS_H_
