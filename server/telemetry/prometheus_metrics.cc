// SPDX-License-Identifier: Apache-2.0

#include "server/telemetry/prometheus_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <exception>
#include <map>
#include <sstream>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/telemetry/inert_metrics.h"

namespace lossd {
namespace {

class PrometheusCounter final : public Counter {
 public:
  explicit PrometheusCounter(prometheus::Counter& counter)
      : counter_(counter) {}
  void Add(double amount) override { counter_.Increment(amount); }

 private:
  prometheus::Counter& counter_;
};

class PrometheusGauge final : public Gauge {
 public:
  explicit PrometheusGauge(prometheus::Gauge& gauge) : gauge_(gauge) {}
  void Set(double value) override { gauge_.Set(value); }
  void Add(double amount) override { gauge_.Increment(amount); }

 private:
  prometheus::Gauge& gauge_;
};

class PrometheusHistogram final : public Histogram {
 public:
  explicit PrometheusHistogram(prometheus::Histogram& histogram)
      : histogram_(histogram) {}
  void Observe(double value) override { histogram_.Observe(value); }

 private:
  prometheus::Histogram& histogram_;
};

// The wrappers of one kind of metric, by the metric that each one wraps.
template <typename Wrapper, typename Wrapped>
using Wrappers = std::map<Wrapped*, Wrapper>;

template <typename Wrapper, typename Wrapped>
Wrapper& Wrap(Wrapped& wrapped, Wrappers<Wrapper, Wrapped>& wrappers) {
  return wrappers.try_emplace(&wrapped, wrapped).first->second;
}

std::map<std::string, std::string> ToMap(const Labels& labels) {
  return {labels.begin(), labels.end()};
}

}  // namespace

struct PrometheusMetrics::State {
  prometheus::Registry registry;

  absl::Mutex mutex;
  Wrappers<PrometheusCounter, prometheus::Counter> counters
      ABSL_GUARDED_BY(mutex);
  Wrappers<PrometheusGauge, prometheus::Gauge> gauges ABSL_GUARDED_BY(mutex);
  Wrappers<PrometheusHistogram, prometheus::Histogram> histograms
      ABSL_GUARDED_BY(mutex);

  // Stands in for metrics that the registry refuses.
  InertMetrics refused;

  // Held while the functions run, so that they run one at a time.
  absl::Mutex reading;
  std::vector<std::function<void()>> refresh ABSL_GUARDED_BY(reading);
};

PrometheusMetrics::PrometheusMetrics() : state_(std::make_unique<State>()) {}
PrometheusMetrics::~PrometheusMetrics() = default;

// The registry throws where a name or a label breaks the rules.
Counter& PrometheusMetrics::MakeCounter(const std::string& name,
                                        const std::string& help,
                                        const Labels& labels) {
  absl::MutexLock lock(&state_->mutex);
  try {
    auto& family = prometheus::BuildCounter().Name(name).Help(help).Register(
        state_->registry);
    return Wrap(family.Add(ToMap(labels)), state_->counters);
  } catch (const std::exception&) {
    return state_->refused.MakeCounter(name, help, labels);
  }
}

Gauge& PrometheusMetrics::MakeGauge(const std::string& name,
                                    const std::string& help,
                                    const Labels& labels) {
  absl::MutexLock lock(&state_->mutex);
  try {
    auto& family = prometheus::BuildGauge().Name(name).Help(help).Register(
        state_->registry);
    return Wrap(family.Add(ToMap(labels)), state_->gauges);
  } catch (const std::exception&) {
    return state_->refused.MakeGauge(name, help, labels);
  }
}

Histogram& PrometheusMetrics::MakeHistogram(const std::string& name,
                                            const std::string& help,
                                            const Labels& labels,
                                            const std::vector<double>& bounds) {
  absl::MutexLock lock(&state_->mutex);
  try {
    auto& family = prometheus::BuildHistogram().Name(name).Help(help).Register(
        state_->registry);
    return Wrap(family.Add(ToMap(labels), bounds), state_->histograms);
  } catch (const std::exception&) {
    return state_->refused.MakeHistogram(name, help, labels, bounds);
  }
}

void PrometheusMetrics::BeforeReading(std::function<void()> refresh) {
  absl::MutexLock lock(&state_->reading);
  state_->refresh.push_back(std::move(refresh));
}

std::string PrometheusMetrics::Text() {
  {
    absl::MutexLock lock(&state_->reading);
    for (const std::function<void()>& refresh : state_->refresh) refresh();
  }
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, state_->registry.Collect());
  return text.str();
}

}  // namespace lossd
