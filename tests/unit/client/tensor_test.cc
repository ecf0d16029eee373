// SPDX-License-Identifier: Apache-2.0
#include "lossd/tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <limits>

namespace lossd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <typename T>
class EveryDtypeTest : public ::testing::Test {};
using Elements = ::testing::Types<float, double, int32_t, int64_t, uint8_t,
                                  Float16, BFloat16>;
TYPED_TEST_SUITE(EveryDtypeTest, Elements);

TYPED_TEST(EveryDtypeTest, WhatGoesInComesOut) {
  const std::vector<TypeParam> values = {TypeParam(1), TypeParam(2),
                                         TypeParam(3), TypeParam(4),
                                         TypeParam(5), TypeParam(6)};
  const v1::Tensor tensor = MakeTensor(values, {2, 3});
  EXPECT_EQ(tensor.dtype(), kDtypeOf<TypeParam>);
  EXPECT_THAT(tensor.shape(), ElementsAre(2, 3));
  EXPECT_EQ(tensor.data().size(), 6u * DtypeSize(tensor.dtype()));
  EXPECT_EQ(*CopyTensor<TypeParam>(tensor), values);
  const auto view = ViewTensor<TypeParam>(tensor);
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_EQ(reinterpret_cast<const char*>(view->data()), tensor.data().data());
  EXPECT_EQ(*view, absl::MakeConstSpan(values));
}

TEST(TensorTest, LiteralsArraysAndSpansMakeTensors) {
  EXPECT_THAT(*CopyTensor<float>(MakeTensor<float>({0.5, 2}, {2})),
              ElementsAre(0.5, 2));
  const std::array<int64_t, 2> indices = {7, -1};
  EXPECT_THAT(*CopyTensor<int64_t>(MakeTensor(indices, {2})),
              ElementsAre(7, -1));
  const double number = 3;
  const v1::Tensor scalar = MakeTensor(absl::MakeConstSpan(&number, 1), {});
  EXPECT_EQ(scalar.shape_size(), 0);
  EXPECT_THAT(*CopyTensor<double>(scalar), ElementsAre(3));
  EXPECT_EQ(MakeTensor(std::vector<float>(), {0, 4}).data().size(), 0u);
}

TEST(TensorTest, BoolsAreBytes) {
  const std::array<bool, 3> mask = {true, false, true};
  const v1::Tensor tensor = MakeTensor(mask, {3});
  EXPECT_EQ(tensor.data(), std::string("\1\0\1", 3));
  EXPECT_THAT(*CopyTensor<bool>(tensor), ElementsAre(true, false, true));
  EXPECT_THAT(*ViewTensor<uint8_t>(tensor), ElementsAre(1, 0, 1));
  EXPECT_FALSE(CopyTensor<uint8_t>(tensor).ok());
}

TEST(TensorTest, AnotherDtypeIsAnError) {
  const v1::Tensor tensor = MakeTensor<float>({1, 2}, {2});
  const absl::Status status = ViewTensor<double>(tensor).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("has dtype float32, not float64"));
}

TEST(TensorTest, ALengthOffTheShapeIsAnError) {
  v1::Tensor tensor = MakeTensor<float>({1, 2}, {3});
  EXPECT_THAT(std::string(ViewTensor<float>(tensor).status().message()),
              HasSubstr("has 8 bytes, but shape [3] of float32"));
  tensor = MakeTensor<float>({1, 2}, {2});
  tensor.mutable_data()->pop_back();
  EXPECT_FALSE(CopyTensor<float>(tensor).ok());
  tensor.set_shape(0, -2);
  EXPECT_THAT(std::string(CopyTensor<float>(tensor).status().message()),
              HasSubstr("negative"));
}

TEST(TensorTest, ValuesAndNoContentAreErrors) {
  v1::Tensor tensor;
  tensor.set_dtype(v1::DTYPE_FLOAT32);
  EXPECT_THAT(std::string(ViewTensor<float>(tensor).status().message()),
              HasSubstr("no content"));
  tensor.mutable_values()->set_number_value(1);
  EXPECT_THAT(std::string(ViewTensor<float>(tensor).status().message()),
              HasSubstr("values"));
}

TEST(TensorTest, ElementsAreCountedWithoutOverflow) {
  EXPECT_EQ(*ElementCount({}), 1);
  EXPECT_EQ(*ElementCount({3, 0, 5}), 0);
  EXPECT_EQ(*ElementCount({3, 4, 5}), 60);
  EXPECT_FALSE(ElementCount({int64_t{1} << 32, int64_t{1} << 31}).ok());
  EXPECT_FALSE(ElementCount({-1, -1}).ok());
}

TEST(TensorTest, EveryDtypeWidensToDoubles) {
  EXPECT_THAT(*WidenTensor(MakeTensor<float>({0.5}, {1})), ElementsAre(0.5));
  EXPECT_THAT(*WidenTensor(MakeTensor<double>({0.1}, {1})), ElementsAre(0.1));
  EXPECT_THAT(*WidenTensor(MakeTensor<int32_t>({-3}, {1})), ElementsAre(-3));
  EXPECT_THAT(*WidenTensor(MakeTensor<int64_t>({-3}, {1})), ElementsAre(-3));
  EXPECT_THAT(*WidenTensor(MakeTensor<uint8_t>({200}, {1})), ElementsAre(200));
  EXPECT_THAT(*WidenTensor(MakeTensor<Float16>({ToFloat16(-1.5)}, {1})),
              ElementsAre(-1.5));
  EXPECT_THAT(*WidenTensor(MakeTensor<BFloat16>({ToBFloat16(-1.5)}, {1})),
              ElementsAre(-1.5));
  const bool yes = true;
  EXPECT_THAT(*WidenTensor(MakeTensor(absl::MakeConstSpan(&yes, 1), {1})),
              ElementsAre(1));
  EXPECT_FALSE(WidenTensor(v1::Tensor()).ok());
}

TEST(TensorTest, DtypesHaveTheNamesOfPyTorch) {
  EXPECT_EQ(DtypeName(v1::DTYPE_BFLOAT16), "bfloat16");
  EXPECT_EQ(DtypeName(static_cast<v1::Dtype>(99)), "dtype 99");
  EXPECT_TRUE(IsFloating(v1::DTYPE_FLOAT16));
  EXPECT_FALSE(IsFloating(v1::DTYPE_INT64));
}

TEST(Float16Test, EveryFiniteNumberSurvivesTheTrip) {
  for (int bits = 0; bits < 1 << 16; ++bits) {
    const float half = ToFloat(static_cast<Float16>(bits));
    const float brain = ToFloat(static_cast<BFloat16>(bits));
    if (!std::isnan(half)) {
      EXPECT_EQ(static_cast<int>(ToFloat16(half)), bits);
    }
    if (!std::isnan(brain)) {
      EXPECT_EQ(static_cast<int>(ToBFloat16(brain)), bits);
    }
  }
}

TEST(Float16Test, NumbersOfEachKindHaveTheirBits) {
  const auto bits = [](double value) {
    return static_cast<int>(ToFloat16(value));
  };
  EXPECT_EQ(bits(0.0), 0x0000);
  EXPECT_EQ(bits(-0.0), 0x8000);
  EXPECT_EQ(bits(1.0), 0x3c00);
  EXPECT_EQ(bits(-2.0), 0xc000);
  EXPECT_EQ(bits(65504.0), 0x7bff);
  EXPECT_EQ(bits(0x1p-14), 0x0400);
  EXPECT_EQ(bits(0x1p-24), 0x0001);
  EXPECT_EQ(bits(std::numeric_limits<double>::infinity()), 0x7c00);
  EXPECT_EQ(bits(std::numeric_limits<double>::quiet_NaN()), 0x7e00);
  EXPECT_EQ(bits(1e300), 0x7c00);
  EXPECT_EQ(bits(-1e-300), 0x8000);
  EXPECT_EQ(static_cast<int>(ToBFloat16(1.0)), 0x3f80);
  EXPECT_EQ(static_cast<int>(ToBFloat16(0x1p-133)), 0x0001);
  EXPECT_EQ(static_cast<int>(ToBFloat16(3.4e38)), 0x7f80);
}

TEST(Float16Test, TiesGoToEvenAndNothingIsRoundedTwice) {
  const auto bits = [](double value) {
    return static_cast<int>(ToFloat16(value));
  };
  EXPECT_EQ(bits(1 + 0x1p-11), 0x3c00);
  EXPECT_EQ(bits(1 + 3 * 0x1p-11), 0x3c02);
  EXPECT_EQ(bits(1 + 0x1p-11 + 0x1p-40), 0x3c01);
  EXPECT_EQ(bits(0x1p-25), 0x0000);
  EXPECT_EQ(bits(3 * 0x1p-25), 0x0002);
  EXPECT_EQ(bits(65519.99), 0x7bff);
  EXPECT_EQ(bits(65520), 0x7c00);
  EXPECT_EQ(bits(0x1p-14 - 0x1p-26), 0x0400);
  EXPECT_EQ(static_cast<int>(ToBFloat16(1 + 0x1p-8)), 0x3f80);
  EXPECT_EQ(static_cast<int>(ToBFloat16(1 + 3 * 0x1p-8)), 0x3f82);
  EXPECT_EQ(static_cast<int>(ToBFloat16(1 + 0x1p-8 + 0x1p-40)), 0x3f81);
}

}  // namespace
}  // namespace lossd
