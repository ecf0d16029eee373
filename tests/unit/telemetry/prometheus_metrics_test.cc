// SPDX-License-Identifier: Apache-2.0

#include "server/telemetry/prometheus_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "server/telemetry/inert_metrics.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(PrometheusMetrics, WithoutMetricsTheTextIsEmpty) {
  EXPECT_EQ(PrometheusMetrics().Text(), "");
}

TEST(PrometheusMetrics, CountersAdd) {
  PrometheusMetrics metrics;
  Counter& counter = metrics.MakeCounter("a_total", "What a is.", {{"l", "v"}});
  counter.Increment();
  counter.Add(2.5);
  EXPECT_EQ(metrics.Text(),
            "# HELP a_total What a is.\n"
            "# TYPE a_total counter\n"
            "a_total{l=\"v\"} 3.5\n");
}

TEST(PrometheusMetrics, GaugesGoUpAndDown) {
  PrometheusMetrics metrics;
  Gauge& gauge = metrics.MakeGauge("g", "G.", {});
  gauge.Set(7);
  gauge.Add(-9);
  EXPECT_THAT(metrics.Text(), HasSubstr("# TYPE g gauge\ng -2\n"));
}

TEST(PrometheusMetrics, HistogramsCountUpToEachBound) {
  PrometheusMetrics metrics;
  Histogram& histogram = metrics.MakeHistogram("h", "H.", {}, {1, 2});
  for (double value : {0.5, 1.0, 1.5, 3.0}) histogram.Observe(value);
  EXPECT_EQ(metrics.Text(),
            "# HELP h H.\n"
            "# TYPE h histogram\n"
            "h_count 4\n"
            "h_sum 6\n"
            "h_bucket{le=\"1\"} 2\n"
            "h_bucket{le=\"2\"} 3\n"
            "h_bucket{le=\"+Inf\"} 4\n");
}

TEST(PrometheusMetrics, EachChoiceOfLabelValuesIsAMetric) {
  PrometheusMetrics metrics;
  Counter& a = metrics.MakeCounter("c_total", "C.", {{"l", "a"}});
  Counter& b = metrics.MakeCounter("c_total", "C.", {{"l", "b"}});
  EXPECT_NE(&a, &b);
  EXPECT_EQ(&a, &metrics.MakeCounter("c_total", "C.", {{"l", "a"}}));
  a.Increment();
  EXPECT_THAT(metrics.Text(), HasSubstr("c_total{l=\"a\"} 1\n"));
  EXPECT_THAT(metrics.Text(), HasSubstr("c_total{l=\"b\"} 0\n"));
}

TEST(PrometheusMetrics, LabelValuesAreEscaped) {
  PrometheusMetrics metrics;
  metrics.MakeGauge("g", "G.", {{"l", "a\"b\\c\nd"}});
  EXPECT_THAT(metrics.Text(), HasSubstr("g{l=\"a\\\"b\\\\c\\nd\"} 0\n"));
}

TEST(PrometheusMetrics, RefreshesBeforeEveryReading) {
  PrometheusMetrics metrics;
  Gauge& gauge = metrics.MakeGauge("g", "G.", {});
  int calls = 0;
  metrics.BeforeReading([&] { gauge.Set(++calls); });
  EXPECT_THAT(metrics.Text(), HasSubstr("g 1\n"));
  EXPECT_THAT(metrics.Text(), HasSubstr("g 2\n"));
}

TEST(PrometheusMetrics, AMetricThatBreaksTheRulesIsNotRead) {
  PrometheusMetrics metrics;
  metrics.MakeCounter("bad name", "B.", {}).Increment();
  metrics.MakeGauge("g", "G.", {{"bad label", "x"}}).Set(1);
  metrics.MakeCounter("twice", "T.", {}).Increment();
  metrics.MakeGauge("twice", "T.", {}).Set(5);
  EXPECT_THAT(metrics.Text(), Not(HasSubstr("bad")));
  EXPECT_THAT(metrics.Text(), HasSubstr("twice 1\n"));
  EXPECT_THAT(metrics.Text(), Not(HasSubstr("twice 5")));
}

TEST(PrometheusMetrics, CountsFromManyThreadsWhileItIsRead) {
  PrometheusMetrics metrics;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      Histogram& histogram = metrics.MakeHistogram("h", "H.", {}, {1});
      for (int j = 0; j < 1000; ++j) {
        metrics.MakeCounter("c_total", "C.", {}).Increment();
        histogram.Observe(1);
      }
    });
  }
  for (int i = 0; i < 10; ++i) metrics.Text();
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(metrics.Text(), HasSubstr("c_total 4000\n"));
  EXPECT_THAT(metrics.Text(), HasSubstr("h_count 4000\n"));
}

TEST(InertMetrics, TakeEverythingAndDoNothing) {
  InertMetrics metrics;
  metrics.MakeCounter("c_total", "C.", {}).Increment();
  metrics.MakeGauge("g", "G.", {}).Set(1);
  metrics.MakeGauge("g", "G.", {}).Add(1);
  metrics.MakeHistogram("h", "H.", {}, {1}).Observe(1);
  metrics.BeforeReading([] { FAIL(); });
}

}  // namespace
}  // namespace lossd
