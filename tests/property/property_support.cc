// SPDX-License-Identifier: Apache-2.0

#include "tests/property/property_support.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/unit/engine/backend_under_test.h"

namespace lossd {
namespace {

// The element of a tensor of shape `from`, which broadcasts, that belongs to
// each element of `to`.
std::vector<size_t> Sources(const Shape& from, const Shape& to) {
  EXPECT_EQ(from.size(), to.size());
  std::vector<size_t> sources;
  const int64_t count = ElementCount(to).value();
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = i, source = 0, stride = 1;
    for (size_t d = to.size(); d-- > 0;) {
      if (from[d] != 1) source += rest % to[d] * stride;
      stride *= from[d];
      rest /= to[d];
    }
    sources.push_back(static_cast<size_t>(source));
  }
  return sources;
}

}  // namespace

double Epsilon(Dtype dtype) {
  return dtype == Dtype::kFloat64 ? DBL_EPSILON : FLT_EPSILON;
}

double Narrowed(double value, Dtype dtype) {
  return dtype == Dtype::kFloat64 ? value : static_cast<float>(value);
}

double Random::Number(double low, double high) {
  return Narrowed(std::uniform_real_distribution<double>(low, high)(engine_),
                  dtype_);
}

int64_t Random::Integer(int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(engine_);
}

Values Random::Uniform(int64_t count, double low, double high) {
  Values values;
  for (int64_t i = 0; i < count; ++i) values.push_back(Number(low, high));
  return values;
}

Values Random::Coarse(int64_t count, double low, double high) {
  return Map(Uniform(count, low, high),
             [](double v) { return std::floor(v * 1024) / 1024; });
}

Values Random::Integers(int64_t count, int64_t low, int64_t high) {
  Values values;
  for (int64_t i = 0; i < count; ++i) {
    values.push_back(static_cast<double>(Integer(low, high)));
  }
  return values;
}

Values Random::Signs(int64_t count) {
  return Map(Integers(count, 0, 1), [](double v) { return 2 * v - 1; });
}

Values Random::Distributions(int64_t rows, int64_t classes) {
  const Values masses = Uniform(rows * classes, 0.05, 1);
  const Values sums = Repeated(RowSums(masses, classes), classes);
  return Narrow(Zip(masses, sums, std::divides<>()));
}

std::vector<int64_t> Random::Permutation(int64_t count) {
  std::vector<int64_t> places(static_cast<size_t>(count));
  std::iota(places.begin(), places.end(), 0);
  std::shuffle(places.begin(), places.end(), engine_);
  return places;
}

Values Random::Narrow(Values values) const {
  for (double& value : values) value = Narrowed(value, dtype_);
  return values;
}

void ForAll(const std::function<void(Random*)>& property, uint64_t seeds) {
  for (const Dtype dtype : {Dtype::kFloat32, Dtype::kFloat64}) {
    const int64_t most = RepetitionsUnderTest(static_cast<int64_t>(seeds));
    for (uint64_t seed = 1; seed <= static_cast<uint64_t>(most); ++seed) {
      SCOPED_TRACE(absl::StrCat(DtypeName(dtype), ", seed ", seed));
      Random random(seed, dtype);
      property(&random);
    }
  }
}

Values Map(const Values& x, const std::function<double(double)>& function) {
  Values values(x.size());
  std::transform(x.begin(), x.end(), values.begin(), function);
  return values;
}

Values Zip(const Values& x, const Values& y,
           const std::function<double(double, double)>& function) {
  EXPECT_EQ(x.size(), y.size());
  Values values(std::min(x.size(), y.size()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = function(x[i], y[i]);
  return values;
}

Values Magnitudes(const Values& x) {
  return Map(x, [](double v) { return std::abs(v); });
}

double Sum(const Values& x) {
  return static_cast<double>(std::accumulate(x.begin(), x.end(), 0.0L));
}

double SumOfMagnitudes(const Values& x) { return Sum(Magnitudes(x)); }

double Greatest(const Values& x) {
  double greatest = 0;
  for (const double v : x) greatest = std::max(greatest, std::abs(v));
  return greatest;
}

Values RowSums(const Values& x, int64_t length) {
  Values sums;
  for (auto row = x.begin(); row != x.end(); row += length) {
    sums.push_back(
        static_cast<double>(std::accumulate(row, row + length, 0.0L)));
  }
  return sums;
}

Values Repeated(const Values& x, int64_t length) {
  Values values;
  for (const double v : x) values.insert(values.end(), length, v);
  return values;
}

Values Tiled(const Values& x, int64_t times) {
  Values values;
  for (int64_t i = 0; i < times; ++i) {
    values.insert(values.end(), x.begin(), x.end());
  }
  return values;
}

Values Expanded(const Values& x, const Shape& from, const Shape& to) {
  Values values;
  for (const size_t source : Sources(from, to)) values.push_back(x[source]);
  return values;
}

Values Collected(const Values& x, const Shape& from, const Shape& to) {
  std::vector<long double> sums(
      static_cast<size_t>(ElementCount(from).value()));
  const std::vector<size_t> sources = Sources(from, to);
  for (size_t i = 0; i < x.size(); ++i) sums[sources[i]] += x[i];
  return Values(sums.begin(), sums.end());
}

Values LogSoftmax(const Values& logits, int64_t classes) {
  Values values;
  for (auto row = logits.begin(); row != logits.end(); row += classes) {
    const long double most = *std::max_element(row, row + classes);
    long double sum = 0;
    for (int64_t c = 0; c < classes; ++c) sum += std::exp(row[c] - most);
    for (int64_t c = 0; c < classes; ++c) {
      values.push_back(static_cast<double>(row[c] - most - std::log(sum)));
    }
  }
  return values;
}

Values GradientOf(const Result& result, absl::string_view wrt) {
  for (const GradientValue& gradient : result.gradients) {
    if (gradient.wrt == wrt) return ValuesOf(gradient.value);
  }
  ADD_FAILURE() << "there is no gradient with respect to " << wrt;
  return {};
}

std::vector<std::string> DifferentiableOf(const TestEvaluation& evaluation) {
  std::vector<std::string> names;
  for (const TensorSchema& tensor : evaluation.schema().tensors) {
    TestEvaluation one = evaluation;
    one.Gradient({std::string(tensor.name)});
    Violations violations;
    if (tensor.differentiable &&
        DefaultEngine().Prepare(one.Make(), &violations) != nullptr) {
      names.emplace_back(tensor.name);
    }
  }
  return names;
}

void ExpectWithin(const Values& actual, const Values& expected,
                  const Values& tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  ASSERT_EQ(actual.size(), tolerance.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    const double error = std::abs(actual[i] - expected[i]);
    EXPECT_TRUE(actual[i] == expected[i] || error <= tolerance[i])
        << "at " << i << ": " << absl::StrFormat("%.17g", actual[i])
        << " instead of " << absl::StrFormat("%.17g", expected[i])
        << ", which are " << error << " apart and may be " << tolerance[i];
  }
}

void ExpectWithin(const Values& actual, const Values& expected,
                  double tolerance) {
  ExpectWithin(actual, expected, Values(expected.size(), tolerance));
}

void ExpectClose(const Random& random, const Values& actual,
                 const Values& expected, double ulps, const Values& scale) {
  ExpectWithin(actual, expected, ulps * random.epsilon() * Magnitudes(scale));
}

void ExpectClose(const Random& random, const Values& actual,
                 const Values& expected, double ulps, double scale) {
  ExpectWithin(actual, expected, ulps * random.epsilon() * std::abs(scale));
}

void ExpectClose(const Random& random, const Values& actual,
                 const Values& expected, double ulps) {
  ExpectClose(random, actual, expected, ulps, expected);
}

}  // namespace lossd
