// SPDX-License-Identifier: Apache-2.0

#include "server/base/dtype.h"

#include "gtest/gtest.h"

namespace lossd {
namespace {

struct Row {
  Dtype dtype;
  int number;
  int64_t size;
  const char* name;
  bool floating;
  bool class_index;
};

constexpr Row kRows[] = {
    {Dtype::kUnspecified, 0, 0, "unspecified", false, false},
    {Dtype::kFloat16, 1, 2, "float16", true, false},
    {Dtype::kBfloat16, 2, 2, "bfloat16", true, false},
    {Dtype::kFloat32, 3, 4, "float32", true, false},
    {Dtype::kFloat64, 4, 8, "float64", true, false},
    {Dtype::kInt32, 5, 4, "int32", false, true},
    {Dtype::kInt64, 6, 8, "int64", false, true},
    {Dtype::kUint8, 7, 1, "uint8", false, true},
    {Dtype::kBool, 8, 1, "bool", false, false},
};

TEST(DtypeTest, EveryDtypeHasPyTorchsSizeAndName) {
  static_assert(std::size(kRows) == kDtypeCount);
  for (const Row& row : kRows) {
    EXPECT_EQ(static_cast<int>(row.dtype), row.number) << row.name;
    EXPECT_EQ(DtypeSize(row.dtype), row.size) << row.name;
    EXPECT_EQ(DtypeName(row.dtype), row.name);
  }
}

TEST(DtypeTest, OnlyFloatsAreFloatingAndOnlyIntegersAreClassIndices) {
  for (const Row& row : kRows) {
    EXPECT_EQ(IsFloating(row.dtype), row.floating) << row.name;
    EXPECT_EQ(IsClassIndex(row.dtype), row.class_index) << row.name;
  }
}

}  // namespace
}  // namespace lossd
