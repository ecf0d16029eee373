// SPDX-License-Identifier: Apache-2.0
//
// Seeded random values, arithmetic on vectors, and comparisons within a few
// units in the last place.

#ifndef LOSSD_TESTS_PROPERTY_PROPERTY_SUPPORT_H_
#define LOSSD_TESTS_PROPERTY_PROPERTY_SUPPORT_H_

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "tests/unit/engine/engine_test_support.h"

namespace lossd {

using Values = std::vector<double>;

// The distance from 1 to the next greater number of a dtype.
double Epsilon(Dtype dtype);

// The nearest number of a dtype.
double Narrowed(double value, Dtype dtype);

// Values of one dtype from one seed.
class Random {
 public:
  Random(uint64_t seed, Dtype dtype) : dtype_(dtype), engine_(seed) {}

  Dtype dtype() const { return dtype_; }
  double epsilon() const { return Epsilon(dtype_); }

  double Number(double low, double high);
  int64_t Integer(int64_t low, int64_t high);  // of [low, high]
  Values Uniform(int64_t count, double low, double high);
  // Multiples of 1 / 1024, whose sums and differences are exact.
  Values Coarse(int64_t count, double low, double high);
  Values Integers(int64_t count, int64_t low, int64_t high);
  Values Signs(int64_t count);  // 1 or -1
  // Rows of positive numbers that add up to 1, but for rounding.
  Values Distributions(int64_t rows, int64_t classes);
  std::vector<int64_t> Permutation(int64_t count);

  TestTensor Tensor(const Shape& shape, const Values& values) const {
    return TestTensor(dtype_, shape, values);
  }
  // As the dtype rounds them.
  Values Narrow(Values values) const;

 private:
  const Dtype dtype_;
  std::mt19937_64 engine_;
};

// Checks a property for float32 and float64 and for the seeds from 1, fewer on
// a backend that is slow. A failure names the seed.
void ForAll(const std::function<void(Random*)>& property, uint64_t seeds = 32);

// Element by element.
Values Map(const Values& x, const std::function<double(double)>& function);
Values Zip(const Values& x, const Values& y,
           const std::function<double(double, double)>& function);
inline Values operator-(const Values& x) {
  return Map(x, [](double v) { return -v; });
}
inline Values operator*(double factor, const Values& x) {
  return Map(x, [factor](double v) { return factor * v; });
}
inline Values operator+(const Values& x, const Values& y) {
  return Zip(x, y, std::plus<>());
}
inline Values operator-(const Values& x, const Values& y) {
  return Zip(x, y, std::minus<>());
}
inline Values operator*(const Values& x, const Values& y) {
  return Zip(x, y, std::multiplies<>());
}
Values Magnitudes(const Values& x);
double Sum(const Values& x);
double SumOfMagnitudes(const Values& x);
double Greatest(const Values& x);  // of the magnitudes; 0 of none
// Of each row of `length` elements; and each element `length` times.
Values RowSums(const Values& x, int64_t length);
Values Repeated(const Values& x, int64_t length);
// All of `x`, `times` times.
Values Tiled(const Values& x, int64_t times);

// What a tensor of shape `from` holds where it broadcasts to `to`, of as many
// dimensions; and the sums that are the gradient with respect to it.
Values Expanded(const Values& x, const Shape& from, const Shape& to);
Values Collected(const Values& x, const Shape& from, const Shape& to);

// The rows of log_softmax(x), computed in long double.
Values LogSoftmax(const Values& logits, int64_t classes);

// Parts of an answer. A gradient that is not there fails.
inline Values LossOf(const Result& result) {
  return ValuesOf(result.loss_tensor);
}
Values GradientOf(const Result& result, absl::string_view wrt);
// The tensors of an evaluation with respect to which there are gradients.
std::vector<std::string> DifferentiableOf(const TestEvaluation& evaluation);

// |actual - expected| <= tolerance for each element, or both are the same
// infinity.
void ExpectWithin(const Values& actual, const Values& expected,
                  const Values& tolerance);
void ExpectWithin(const Values& actual, const Values& expected,
                  double tolerance);
// The tolerance as units in the last place of `scale`, which is usually the
// sum of the magnitudes that were added.
void ExpectClose(const Random& random, const Values& actual,
                 const Values& expected, double ulps, const Values& scale);
void ExpectClose(const Random& random, const Values& actual,
                 const Values& expected, double ulps, double scale);
// As units in the last place of `expected` itself.
void ExpectClose(const Random& random, const Values& actual,
                 const Values& expected, double ulps);

}  // namespace lossd

#endif  // LOSSD_TESTS_PROPERTY_PROPERTY_SUPPORT_H_
