// SPDX-License-Identifier: Apache-2.0
//
// What the arithmetic types promise to the mathematics, on the portable ones.

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "server/kernels/cpu/cpu_kernels.h"
#include "server/kernels/reference/reference_kernels.h"
#include "tests/unit/kernels/portable_math.h"

namespace lossd {
namespace {

template <class T>
using Lanes = math::Lanes<T>;

template <class T>
class LanesTest : public testing::Test {
 protected:
  static Lanes<T> Counting() {
    T values[16];
    for (int i = 0; i < 16; ++i) values[i] = static_cast<T>(i + 1);
    return Lanes<T>::Load(values);
  }
};
using LaneTypes = testing::Types<float, double>;
TYPED_TEST_SUITE(LanesTest, LaneTypes);

TYPED_TEST(LanesTest, LoadFirstRepeatsTheFirstElement) {
  const TypeParam values[3] = {5, 6, 7};
  const auto lanes = Lanes<TypeParam>::LoadFirst(values, 3);
  EXPECT_EQ(lanes.v[0], 5);
  EXPECT_EQ(lanes.v[2], 7);
  for (int i = 3; i < 16; ++i) EXPECT_EQ(lanes.v[i], 5) << i;
}

TYPED_TEST(LanesTest, StoreUpToLeavesTheRestAlone) {
  for (const int64_t n : {1, 2, 15, 16}) {
    std::array<TypeParam, 17> values = {};
    math::StoreUpTo(TestFixture::Counting(), values.data(), n);
    for (int64_t i = 0; i < 17; ++i) {
      EXPECT_EQ(values[i], i < n ? static_cast<TypeParam>(i + 1) : 0) << n;
    }
  }
}

TYPED_TEST(LanesTest, MaxAndMinGiveTheirSecondOperandWhereOneIsNan) {
  using V = Lanes<TypeParam>;
  const V nan = V::Set(NAN);
  const V one = V::Set(1);
  EXPECT_EQ(math::Max(nan, one).v[0], 1);
  EXPECT_TRUE(std::isnan(math::Max(one, nan).v[0]));
  EXPECT_EQ(math::Min(nan, one).v[0], 1);
  EXPECT_TRUE(std::isnan(math::Min(one, nan).v[0]));
  EXPECT_EQ(math::Max(one, V::Set(2)).v[5], 2);
  EXPECT_EQ(math::Min(one, V::Set(2)).v[5], 1);
}

TYPED_TEST(LanesTest, SplitGivesAFactorAroundOneAndAPowerOfTwo) {
  using V = Lanes<TypeParam>;
  using Limits = std::numeric_limits<TypeParam>;
  for (int e = Limits::min_exponent - 1; e < Limits::max_exponent; ++e) {
    for (const double part : {1.0, 1.2, 1.4142135, 1.4142136, 1.999}) {
      const auto x = static_cast<TypeParam>(std::ldexp(part, e));
      V m;
      V k;
      math::Split(V::Set(static_cast<double>(x)), &m, &k);
      EXPECT_EQ(std::ldexp(m.v[0], static_cast<int>(k.v[0])), x);
      EXPECT_GE(m.v[0], static_cast<TypeParam>(0.7071067));
      EXPECT_LT(m.v[0], static_cast<TypeParam>(1.4142137));
    }
  }
}

TYPED_TEST(LanesTest, Pow2IsExactForEveryNormalNumber) {
  using V = Lanes<TypeParam>;
  using Limits = std::numeric_limits<TypeParam>;
  for (int e = Limits::min_exponent - 1; e < Limits::max_exponent; ++e) {
    EXPECT_EQ(math::Pow2(V::Set(e)).v[9], std::ldexp(TypeParam{1}, e)) << e;
  }
}

TYPED_TEST(LanesTest, FmaRoundsOnce) {
  using V = Lanes<TypeParam>;
  const double e = std::numeric_limits<TypeParam>::epsilon();
  // (1 + e)^2 - (1 + 2e) = e^2, which two roundings lose.
  EXPECT_EQ(math::Fma(V::Set(1 + e), V::Set(1 + e), -(V::Set(1 + 2 * e))).v[0],
            static_cast<TypeParam>(e * e));
}

TYPED_TEST(LanesTest, TheFirstMaximumIsTheFirstNanIfThereIsOne) {
  using V = Lanes<TypeParam>;
  const TypeParam ties[] = {1, 7, 3, 7};
  EXPECT_EQ(math::FirstMaximum<V>(ties, 4), 1);
  const TypeParam nans[] = {1, 7, NAN, NAN};
  EXPECT_EQ(math::FirstMaximum<V>(nans, 4), 2);
  EXPECT_EQ(math::FirstMaximum<V>(ties, 0), 0);
}

TYPED_TEST(LanesTest, EveryNanBecomesOne) {
  using V = Lanes<TypeParam>;
  const TypeParam nan = math::Canonical(V::Set(-NAN)).v[0];
  EXPECT_TRUE(std::isnan(nan));
  EXPECT_FALSE(std::signbit(nan));
  EXPECT_EQ(math::Canonical(V::Set(-INFINITY)).v[0], -INFINITY);
}

TEST(KernelTableTest, EveryTableHasEveryLossInTheSameLanes) {
  const KernelTable& portable = CpuKernels().back();
  std::vector<KernelTable> tables = CpuKernels();
  tables.push_back(ReferenceKernels());
  for (const KernelTable& table : tables) {
    ASSERT_EQ(table.losses.size(), AllLosses().size()) << table.target;
    for (size_t i = 0; i < table.losses.size(); ++i) {
      EXPECT_NE(table.losses[i].double_lanes, nullptr) << table.target;
      EXPECT_EQ(table.losses[i].float_lanes == nullptr,
                portable.losses[i].float_lanes == nullptr)
          << table.target << " " << AllLosses()[i]->schema.name;
    }
  }
}

TEST(KernelTableTest, ThePortableKernelsAreThereAndLast) {
  const std::vector<KernelTable>& tables = CpuKernels();
  ASSERT_FALSE(tables.empty());
  EXPECT_EQ(tables.back().target, "PORTABLE");
  for (size_t i = 0; i + 1 < tables.size(); ++i) {
    EXPECT_NE(tables[i].target, "PORTABLE");
  }
}

}  // namespace
}  // namespace lossd
