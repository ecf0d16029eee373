// SPDX-License-Identifier: Apache-2.0

#include "server/base/tensor_view.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "server/base/half.h"
#include "server/base/tensor_sum.h"

namespace lossd {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

TEST(ElementCountTest, IsTheProductOfTheSizes) {
  EXPECT_EQ(ElementCount({}), 1);
  EXPECT_EQ(ElementCount({7}), 7);
  EXPECT_EQ(ElementCount({2, 3, 4}), 24);
  EXPECT_EQ(ElementCount({kMax}), kMax);
  EXPECT_EQ(ElementCount({int64_t{1} << 31, int64_t{1} << 31}),
            int64_t{1} << 62);
}

TEST(ElementCountTest, AZeroMakesItZero) {
  EXPECT_EQ(ElementCount({0}), 0);
  EXPECT_EQ(ElementCount({5, 0, 3}), 0);
  EXPECT_EQ(ElementCount({0, kMax}), 0);
}

TEST(ElementCountTest, ANegativeSizeHasNoCount) {
  EXPECT_EQ(ElementCount({-1}), std::nullopt);
  EXPECT_EQ(ElementCount({2, -3}), std::nullopt);
  EXPECT_EQ(ElementCount({-2, -3}), std::nullopt);
  EXPECT_EQ(ElementCount({0, -1}), std::nullopt);
  EXPECT_EQ(ElementCount({-1, 0}), std::nullopt);
}

TEST(ElementCountTest, AnOverflowHasNoCountEvenBesideAZero) {
  EXPECT_EQ(ElementCount({int64_t{1} << 32, int64_t{1} << 31}), std::nullopt);
  EXPECT_EQ(ElementCount({kMax, 2}), std::nullopt);
  EXPECT_EQ(ElementCount({0, kMax, 2}), std::nullopt);
  EXPECT_EQ(ElementCount({kMax, 2, 0}), std::nullopt);
  // 2^32 * 2^32 is 0 in 64 bits.
  EXPECT_EQ(ElementCount({int64_t{1} << 32, int64_t{1} << 32}), std::nullopt);
}

TEST(ShapeNameTest, ReadsAsInPython) {
  EXPECT_EQ(ShapeName({}), "[]");
  EXPECT_EQ(ShapeName({3}), "[3]");
  EXPECT_EQ(ShapeName({2, 0, 5}), "[2, 0, 5]");
}

TEST(IndexNameTest, GivesTheSubscripts) {
  EXPECT_EQ(IndexName(0, {}), "");
  EXPECT_EQ(IndexName(4, {5}), "[4]");
  EXPECT_EQ(IndexName(0, {2, 3, 4}), "[0, 0, 0]");
  EXPECT_EQ(IndexName(17, {2, 3, 4}), "[1, 1, 1]");
  EXPECT_EQ(IndexName(23, {2, 3, 4}), "[1, 2, 3]");
  EXPECT_EQ(IndexName(int64_t{1} << 40, {int64_t{1} << 30, int64_t{1} << 20}),
            "[1048576, 0]");
}

template <class T>
std::vector<double> ValuesOf(Dtype dtype, const std::vector<T>& values,
                             size_t offset) {
  std::vector<uint8_t> bytes(values.size() * sizeof(T) + offset);
  std::memcpy(bytes.data() + offset, values.data(), values.size() * sizeof(T));
  TensorView view;
  view.dtype = dtype;
  view.shape = {static_cast<int64_t>(values.size())};
  view.elements = static_cast<int64_t>(values.size());
  view.data = bytes.data() + offset;
  std::vector<double> result;
  for (int64_t i = 0; i < view.elements; ++i) {
    result.push_back(view.ValueAt(i));
    if (IsClassIndex(dtype)) {
      EXPECT_EQ(static_cast<double>(view.IndexAt(i)), view.ValueAt(i));
    }
  }
  return result;
}

TEST(TensorViewTest, ValueAtReadsEveryDtypeWhereverItLies) {
  using Doubles = std::vector<double>;
  for (size_t offset = 0; offset < 8; ++offset) {
    EXPECT_EQ(ValuesOf<uint16_t>(Dtype::kFloat16, {0x3c00, 0xc100}, offset),
              (Doubles{1, -2.5}));
    EXPECT_EQ(ValuesOf<uint16_t>(Dtype::kBfloat16, {0x3f80, 0xc020}, offset),
              (Doubles{1, -2.5}));
    EXPECT_EQ(ValuesOf<float>(Dtype::kFloat32, {0.1f, -7e30f}, offset),
              (Doubles{0.1f, -7e30f}));
    EXPECT_EQ(ValuesOf<double>(Dtype::kFloat64, {0.1, -1e300}, offset),
              (Doubles{0.1, -1e300}));
    EXPECT_EQ(ValuesOf<int32_t>(Dtype::kInt32, {5, -2147483647 - 1}, offset),
              (Doubles{5, -2147483648.0}));
    EXPECT_EQ(ValuesOf<int64_t>(Dtype::kInt64, {-1, int64_t{1} << 53}, offset),
              (Doubles{-1, 9007199254740992.0}));
    EXPECT_EQ(ValuesOf<uint8_t>(Dtype::kUint8, {0, 255}, offset),
              (Doubles{0, 255}));
    EXPECT_EQ(ValuesOf<uint8_t>(Dtype::kBool, {0, 1}, offset), (Doubles{0, 1}));
  }
}

TEST(TensorViewTest, IndexAtIsExactWhereADoubleIsNot) {
  const int64_t large = (int64_t{1} << 53) + 1;
  TensorView view;
  view.dtype = Dtype::kInt64;
  view.elements = 1;
  view.data = reinterpret_cast<const uint8_t*>(&large);
  EXPECT_EQ(view.IndexAt(0), large);
  EXPECT_NE(static_cast<int64_t>(view.ValueAt(0)), large);
}

TEST(TensorViewTest, ADefaultViewIsAbsent) {
  EXPECT_FALSE(TensorView().present());
  TensorView scalar;
  scalar.dtype = Dtype::kBool;
  EXPECT_TRUE(scalar.present());
}

TEST(TensorSumTest, IsTheOrderedSumOfTheValues) {
  std::vector<Bfloat16> values;
  OrderedSum expected;
  for (int i = 0; i < 1030; ++i) {
    values.push_back(ToBfloat16(std::sin(i)));
    expected.Add(ToFloat(values.back()));
  }
  TensorView view;
  view.dtype = Dtype::kBfloat16;
  view.elements = 1030;
  view.data = reinterpret_cast<const uint8_t*>(values.data());
  EXPECT_EQ(SumOfTensor(view), expected.Total());
  view.elements = 0;
  EXPECT_EQ(SumOfTensor(view), 0);
}

}  // namespace
}  // namespace lossd
