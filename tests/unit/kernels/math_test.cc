// SPDX-License-Identifier: Apache-2.0
//
// How far exp, log, log1p and softplus are from the truth, which is libm's in
// 80-bit long double: one row for each function, lane and range, with the bound
// in units in the last place. Subnormal results have the ulp of subnormals.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "gtest/gtest.h"
#include "tests/unit/kernels/portable_math.h"

namespace lossd {
namespace {

template <class T>
using Lanes = math::Lanes<T>;
template <class T>
using Bits = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
template <class T>
constexpr T kInfinity = std::numeric_limits<T>::infinity();
template <class T>
constexpr T kTiny = std::numeric_limits<T>::denorm_min();
template <class T>
constexpr T kNormal = std::numeric_limits<T>::min();
template <class T>
constexpr T kHuge = std::numeric_limits<T>::max();

static_assert(std::numeric_limits<long double>::digits >= 64,
              "the truth must be wider than double");

long double SoftplusOfMinusAbs(long double x) {
  return std::log1p(std::exp(-std::abs(x)));
}

template <class V>
V Softplus(V x) {
  V e;
  return math::SoftplusOfMinusAbs(x, &e);
}

template <class T>
struct Function {
  const char* name;
  Lanes<T> (*lanes)(Lanes<T>);
  long double (*truth)(long double);
};
template <class T>
const Function<T> kExp = {"Exp", [](Lanes<T> x) { return math::Exp(x); },
                          [](long double x) { return std::exp(x); }};
template <class T>
const Function<T> kLog = {"Log", [](Lanes<T> x) { return math::Log(x); },
                          [](long double x) { return std::log(x); }};
template <class T>
const Function<T> kLog1p = {"Log1p", [](Lanes<T> x) { return math::Log1p(x); },
                            [](long double x) { return std::log1p(x); }};
template <class T>
const Function<T> kSoftplus = {"SoftplusOfMinusAbs",
                               [](Lanes<T> x) { return Softplus(x); },
                               SoftplusOfMinusAbs};

template <class T>
T Apply(const Function<T>& function, T x) {
  return function.lanes(Lanes<T>::Set(static_cast<double>(x))).v[7];
}

// The floating-point numbers, numbered in their order.
template <class T>
Bits<T> Order(T x) {
  const Bits<T> bits = std::bit_cast<Bits<T>>(x);
  return bits < 0 ? std::numeric_limits<Bits<T>>::min() - bits : bits;
}
template <class T>
T OfOrder(Bits<T> order) {
  return std::bit_cast<T>(
      order < 0 ? std::numeric_limits<Bits<T>>::min() - order : order);
}

constexpr int kPoints = 1 << 16;  // of each kind

// Evenly spaced numbers of [low, high], every magnitude, random numbers of
// every magnitude, and the ends with their neighbours.
template <class T>
std::vector<T> Samples(T low, T high, std::mt19937_64* random) {
  std::vector<T> samples;
  const double from = static_cast<double>(low);
  const double step = static_cast<double>(high) / kPoints - from / kPoints;
  const double first = static_cast<double>(Order(low));
  const double span = static_cast<double>(Order(high)) - first;
  std::uniform_real_distribution<double> share(0, 1);
  const auto at = [&](double part) {
    return OfOrder<T>(static_cast<Bits<T>>(first + span * part));
  };
  for (int i = 0; i < kPoints; ++i) {
    samples.push_back(static_cast<T>(from + i * step));
    samples.push_back(at(static_cast<double>(i) / kPoints));
    samples.push_back(at(share(*random)));
  }
  T near_low = low;
  T near_high = high;
  for (int i = 0; i < 64; ++i) {
    samples.push_back(near_low);
    samples.push_back(near_high);
    near_low = std::nextafter(near_low, high);
    near_high = std::nextafter(near_high, low);
  }
  std::erase_if(samples, [&](T x) { return x < low || x > high; });
  return samples;
}

// The distance of `value` from the truth in ulp of the truth.
template <class T>
double UlpError(T value, long double truth) {
  using Limits = std::numeric_limits<T>;
  if (static_cast<long double>(value) == truth) return 0;
  const long double magnitude = std::abs(truth);
  const bool overflows = static_cast<T>(magnitude) == kInfinity<T>;
  if (overflows) return std::isinf(value) ? 0 : kInfinity<double>;
  const int exponent =
      std::max(magnitude == 0 ? Limits::min_exponent : std::ilogb(magnitude),
               Limits::min_exponent - 1);
  const long double ulp = std::ldexp(1.0L, exponent - (Limits::digits - 1));
  return static_cast<double>(std::abs(static_cast<long double>(value) - truth) /
                             ulp);
}

template <class T>
struct Accuracy {
  Function<T> function;
  T low;
  T high;
  double bound;  // ulp
};

template <class T>
void ExpectAccurate(const Accuracy<T>& row, std::mt19937_64* random) {
  const std::vector<T> samples = Samples(row.low, row.high, random);
  double worst = -1;
  T worst_at = 0;
  for (size_t i = 0; i < samples.size(); i += 16) {
    const auto n =
        static_cast<int64_t>(std::min<size_t>(16, samples.size() - i));
    const Lanes<T> results =
        row.function.lanes(Lanes<T>::LoadFirst(&samples[i], n));
    for (int64_t k = 0; k < n; ++k) {
      const T x = samples[i + k];
      const double error = UlpError(results.v[k], row.function.truth(x));
      if (error > worst || std::isnan(error)) {
        worst = error;
        worst_at = x;
      }
    }
  }
  const std::string what = testing::PrintToString(worst_at);
  EXPECT_LE(worst, row.bound) << row.function.name << " at " << what << " in ["
                              << row.low << ", " << row.high << "]";
  // A bound far above what is measured would let accuracy rot.
  EXPECT_GE(worst, row.bound / 2) << row.function.name << " is better than its "
                                  << "bound by far: lower it";
}

const Accuracy<float> kFloatRows[] = {
    {kExp<float>, -87.0f, 88.8f, 1.1},
    {kExp<float>, -104.0f, -87.0f, 0.85},
    {kExp<float>, -0.5f, 0.5f, 0.95},
    {kLog<float>, kTiny<float>, kHuge<float>, 0.9},
    {kLog<float>, 0.5f, 2.0f, 0.9},
    {kLog1p<float>, -0.99999994f, 2.0f, 0.9},
    {kLog1p<float>, -0x1p-20f, 0x1p-20f, 0.55},
    {kLog1p<float>, 1.0f, kHuge<float>, 0.85},
    {kSoftplus<float>, -87.0f, 87.0f, 1.75},
    {kSoftplus<float>, 87.0f, 104.0f, 0.85},
};

const Accuracy<double> kDoubleRows[] = {
    {kExp<double>, -708.0, 709.8, 1.05},
    {kExp<double>, -746.0, -708.0, 1.05},
    {kExp<double>, -0.5, 0.5, 1.05},
    {kLog<double>, kTiny<double>, kHuge<double>, 0.9},
    {kLog<double>, 0.5, 2.0, 0.9},
    {kLog1p<double>, -0.99999999999999989, 2.0, 0.95},
    {kLog1p<double>, -0x1p-40, 0x1p-40, 0.55},
    {kLog1p<double>, 1.0, kHuge<double>, 0.85},
    {kSoftplus<double>, -708.0, 708.0, 1.75},
    {kSoftplus<double>, 708.0, 746.0, 1.05},
};

TEST(MathTest, FloatLanesAreWithinTheirBounds) {
  const auto seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (const Accuracy<float>& row : kFloatRows) ExpectAccurate(row, &random);
}

TEST(MathTest, DoubleLanesAreWithinTheirBounds) {
  const auto seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (const Accuracy<double>& row : kDoubleRows) ExpectAccurate(row, &random);
}

template <class T>
class MathLaneTest : public testing::Test {};
using LaneTypes = testing::Types<float, double>;
TYPED_TEST_SUITE(MathLaneTest, LaneTypes);

TYPED_TEST(MathLaneTest, ExpIsExactAtItsEnds) {
  using T = TypeParam;
  const Function<T>& exp = kExp<T>;
  EXPECT_EQ(Apply<T>(exp, 0), 1);
  EXPECT_EQ(Apply<T>(exp, T{-0.0}), 1);
  EXPECT_EQ(Apply<T>(exp, kTiny<T>), 1);
  EXPECT_EQ(Apply<T>(exp, -kTiny<T>), 1);
  for (const T high : {T{1000}, kHuge<T>, kInfinity<T>}) {
    EXPECT_EQ(Apply<T>(exp, high), kInfinity<T>);
    EXPECT_EQ(Apply<T>(exp, -high), 0);
    EXPECT_FALSE(std::signbit(Apply<T>(exp, -high)));
  }
}

TYPED_TEST(MathLaneTest, LogIsExactAtItsEnds) {
  using T = TypeParam;
  const Function<T>& log = kLog<T>;
  EXPECT_EQ(Apply<T>(log, 1), 0);
  EXPECT_EQ(Apply<T>(log, 0), -kInfinity<T>);
  EXPECT_EQ(Apply<T>(log, T{-0.0}), -kInfinity<T>);
  EXPECT_EQ(Apply<T>(log, kInfinity<T>), kInfinity<T>);
  for (const T low : {T{1}, kTiny<T>, kNormal<T>, kHuge<T>, kInfinity<T>}) {
    EXPECT_TRUE(std::isnan(Apply<T>(log, -low))) << low;
  }
}

TYPED_TEST(MathLaneTest, Log1pIsExactAtItsEnds) {
  using T = TypeParam;
  const Function<T>& log1p = kLog1p<T>;
  EXPECT_EQ(Apply<T>(log1p, 0), 0);
  EXPECT_EQ(Apply<T>(log1p, T{-0.0}), 0);
  EXPECT_EQ(Apply<T>(log1p, kTiny<T>), kTiny<T>);
  EXPECT_EQ(Apply<T>(log1p, -kTiny<T>), -kTiny<T>);
  EXPECT_EQ(Apply<T>(log1p, kNormal<T>), kNormal<T>);
  EXPECT_EQ(Apply<T>(log1p, -1), -kInfinity<T>);
  EXPECT_EQ(Apply<T>(log1p, kInfinity<T>), kInfinity<T>);
  const T below = std::nextafter(T{-1}, T{-2});
  for (const T low : {below, T{-2}, -kHuge<T>, -kInfinity<T>}) {
    EXPECT_TRUE(std::isnan(Apply<T>(log1p, low))) << low;
  }
}

TYPED_TEST(MathLaneTest, SoftplusIsExactAtItsEndsAndEven) {
  using T = TypeParam;
  const Function<T>& softplus = kSoftplus<T>;
  EXPECT_EQ(Apply<T>(softplus, 0), static_cast<T>(std::log(2.0L)));
  for (const T x : {T{0.7}, T{20}, T{100}, kHuge<T>, kInfinity<T>}) {
    EXPECT_EQ(Apply<T>(softplus, x), Apply<T>(softplus, -x)) << x;
  }
  EXPECT_EQ(Apply<T>(softplus, kInfinity<T>), 0);
}

TYPED_TEST(MathLaneTest, SoftplusGivesTheExponentialToo) {
  using T = TypeParam;
  Lanes<T> e;
  math::SoftplusOfMinusAbs(Lanes<T>::Set(3.25), &e);
  EXPECT_EQ(e.v[0], Apply<T>(kExp<T>, T{-3.25}));
}

TYPED_TEST(MathLaneTest, NanStaysNan) {
  using T = TypeParam;
  for (const T nan : {std::numeric_limits<T>::quiet_NaN(),
                      -std::numeric_limits<T>::quiet_NaN()}) {
    for (const auto& f : {kExp<T>, kLog<T>, kLog1p<T>, kSoftplus<T>}) {
      EXPECT_TRUE(std::isnan(Apply<T>(f, nan))) << f.name;
    }
  }
}

TYPED_TEST(MathLaneTest, ANeighbouringLaneChangesNothing) {
  using T = TypeParam;
  const T inputs[16] = {T{0.3}, 0,         -1,        kInfinity<T>,
                        T{NAN}, kTiny<T>,  kHuge<T>,  T{1.7},
                        -50,    T{-0.25},  50,        -kInfinity<T>,
                        T{0.5}, -kHuge<T>, -kTiny<T>, kNormal<T>};
  for (const auto& f : {kExp<T>, kLog<T>, kLog1p<T>, kSoftplus<T>}) {
    const Lanes<T> results = f.lanes(Lanes<T>::Load(inputs));
    for (int i = 0; i < 16; ++i) {
      const T alone = Apply<T>(f, inputs[i]);
      if (std::isnan(alone) && std::isnan(results.v[i])) continue;
      EXPECT_EQ(Order(results.v[i]), Order(alone))
          << f.name << " " << inputs[i];
    }
  }
}

TYPED_TEST(MathLaneTest, MulOrZeroIsZeroWhereItsFirstFactorIs) {
  using T = TypeParam;
  const auto product = [](double a, double b) {
    return math::MulOrZero(Lanes<T>::Set(a), Lanes<T>::Set(b)).v[3];
  };
  EXPECT_EQ(product(0, INFINITY), 0);
  EXPECT_EQ(product(-0.0, -INFINITY), 0);
  EXPECT_EQ(product(0, NAN), 0);
  EXPECT_EQ(product(3, -2), -6);
  EXPECT_TRUE(std::isnan(product(INFINITY, 0)));
}

// What a row computes once has the bits of a lane.
TEST(MathTest, ASingleDoubleHasTheBitsOfALane) {
  std::mt19937_64 random(7);
  for (const auto& [low, high] : {std::pair{-800.0, 800.0}, {-1.0, 2.0}}) {
    for (const double x : Samples(low, high, &random)) {
      const math::Single single = {x};
      const Lanes<double> lanes = Lanes<double>::Set(x);
      const auto same = [&](double one, double lane) {
        return std::bit_cast<uint64_t>(one) == std::bit_cast<uint64_t>(lane) ||
               (std::isnan(one) && std::isnan(lane));
      };
      ASSERT_TRUE(same(math::Exp(single).v, math::Exp(lanes).v[0])) << x;
      ASSERT_TRUE(same(math::Log(single).v, math::Log(lanes).v[0])) << x;
      ASSERT_TRUE(same(math::Log1p(single).v, math::Log1p(lanes).v[0])) << x;
    }
  }
}

}  // namespace
}  // namespace lossd
