// SPDX-License-Identifier: Apache-2.0
//
// Shards of one evaluation add up to the whole: numerators and denominators
// within 1e-13 of the sum of magnitudes, gradients with the global normalizer
// to the bit.

#include <algorithm>
#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "tests/unit/engine/engine_test_support.h"

namespace lossd {
namespace {

class MergeTest : public testing::TestWithParam<Dtype> {};

struct Sums {
  double numerator = 0;
  double denominator = 0;
  double magnitudes = 0;
  int64_t elements = 0;
  int64_t ignored = 0;
  std::vector<double> metrics;
};

Sums SumOfShards(const SampleCase& whole, int64_t step) {
  Sums sums;
  for (int64_t i = 0; i < whole.samples; i += step) {
    const Result shard =
        Answer(whole.Rows(i, std::min(i + step, whole.samples)));
    sums.numerator += *shard.mean_numerator;
    sums.magnitudes += std::abs(*shard.mean_numerator);
    sums.denominator += shard.mean_denominator;
    sums.elements += shard.element_count;
    sums.ignored += shard.ignored_count;
    sums.metrics.resize(2 * shard.metrics.size());
    for (size_t k = 0; k < shard.metrics.size(); ++k) {
      sums.metrics[2 * k] += shard.metrics[k].numerator;
      sums.metrics[2 * k + 1] += shard.metrics[k].denominator;
    }
  }
  return sums;
}

TEST_P(MergeTest, NumeratorsAndDenominatorsAddUp) {
  for (const SampleCase& each : SampleCases(GetParam())) {
    SCOPED_TRACE(each.name);
    const Result whole = Answer(each.All());
    const double magnitudes = SumOfShards(each, 1).magnitudes;
    EXPECT_GT(magnitudes, 0);
    for (const int64_t step : {1, 2, 5, 16}) {
      const Sums sums = SumOfShards(each, step);
      EXPECT_NEAR(sums.numerator, *whole.mean_numerator, 1e-13 * magnitudes);
      EXPECT_NEAR(sums.denominator, whole.mean_denominator,
                  1e-13 * whole.mean_denominator);
      EXPECT_EQ(sums.elements, whole.element_count);
      EXPECT_EQ(sums.ignored, whole.ignored_count);
      for (size_t k = 0; k < whole.metrics.size(); ++k) {
        const double value = whole.metrics[k].numerator;
        EXPECT_NEAR(sums.metrics[2 * k], value, 1e-13 * std::abs(value));
        EXPECT_EQ(sums.metrics[2 * k + 1], whole.metrics[k].denominator);
      }
    }
  }
}

TEST_P(MergeTest, TheMeanIsTheNumeratorOverTheDenominator) {
  for (const SampleCase& each : SampleCases(GetParam())) {
    const Result whole = Answer(each.All());
    const double mean = *whole.mean_numerator / whole.mean_denominator;
    const double narrowed =
        GetParam() == Dtype::kFloat64 ? mean : static_cast<float>(mean);
    EXPECT_EQ(*whole.loss, narrowed) << each.name;
  }
}

TEST_P(MergeTest, GradientsOfShardsWithTheGlobalNormalizerAreTheWholes) {
  for (const SampleCase& each : SampleCases(GetParam())) {
    const Result whole = Answer(each.All().Gradient());
    for (int64_t i = 0; i < each.samples; i += 3) {
      TestEvaluation shard =
          each.Rows(i, std::min(i + 3, each.samples)).Gradient();
      shard.options.normalizer = whole.mean_denominator;
      const Result result = Answer(shard);
      for (size_t k = 0; k < whole.gradients.size(); ++k) {
        const GradientValue& all = whole.gradients[k];
        EXPECT_EQ(ValuesOf(result.gradients[k].value),
                  Slice(ValuesOf(all.value), all.value.shape,
                        each.AxisOf(all.wrt), i, std::min(i + 3, each.samples)))
            << each.name << " " << all.wrt;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, MergeTest,
                         testing::Values(Dtype::kFloat32, Dtype::kFloat64),
                         [](const auto& info) {
                           return std::string(DtypeName(info.param));
                         });

}  // namespace
}  // namespace lossd
