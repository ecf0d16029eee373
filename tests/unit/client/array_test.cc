// SPDX-License-Identifier: Apache-2.0
#include "client/cli/array.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "client/cli/csv.h"
#include "client/cli/json_array.h"
#include "lossd/tensor.h"

namespace lossd::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(JsonArrayTest, NestingIsTheShape) {
  const Array matrix = *ParseJsonArray("[[1, 2], [3, 4], [5, 6]]");
  EXPECT_THAT(matrix.shape, ElementsAre(3, 2));
  EXPECT_THAT(matrix.integers, ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_TRUE(matrix.is_integer());
  EXPECT_THAT(ParseJsonArray("7")->shape, IsEmpty());
  EXPECT_THAT(ParseJsonArray("[]")->shape, ElementsAre(0));
  EXPECT_THAT(ParseJsonArray("[[], []]")->shape, ElementsAre(2, 0));
}

TEST(JsonArrayTest, OnePointMakesAllOfThemFloating) {
  const Array array = *ParseJsonArray("[1, 2.0, -3e1]");
  EXPECT_EQ(array.kind, Array::Kind::kFloating);
  EXPECT_THAT(array.floats, ElementsAre(1, 2, -30));
  EXPECT_THAT(array.integers, IsEmpty());
}

TEST(JsonArrayTest, SpecialNumbersAreStrings) {
  const Array array = *ParseJsonArray(R"(["NaN", "Infinity", "-Infinity"])");
  EXPECT_TRUE(std::isnan(array.floats[0]));
  EXPECT_EQ(array.floats[1], std::numeric_limits<double>::infinity());
  EXPECT_EQ(array.floats[2], -std::numeric_limits<double>::infinity());
}

TEST(JsonArrayTest, TruthValuesAreBool) {
  const Array array = *ParseJsonArray("[true, false]");
  EXPECT_EQ(array.kind, Array::Kind::kBool);
  EXPECT_THAT(array.integers, ElementsAre(1, 0));
  EXPECT_EQ(ParseJsonArray("[true, 0]")->kind, Array::Kind::kInteger);
}

TEST(JsonArrayTest, ErrorsSayWhere) {
  const auto message = [](const char* text) {
    return std::string(ParseJsonArray(text).status().message());
  };
  EXPECT_THAT(message("[[1, 2], [3]]"), HasSubstr("element [1] has 1"));
  EXPECT_THAT(message("[1, [2]]"), HasSubstr("element [1] is a list"));
  EXPECT_THAT(message("[[1], 2]"), HasSubstr("element [1] is not a list"));
  EXPECT_THAT(message(R"([1, "x"])"), HasSubstr("element [1] is \"x\""));
  EXPECT_THAT(message(R"({"a": 1})"), HasSubstr("not a number"));
  EXPECT_THAT(message("null"), HasSubstr("not a number"));
  EXPECT_THAT(message("[1, 2"), HasSubstr("nested lists"));
  EXPECT_THAT(message(""), HasSubstr("nested lists"));
  EXPECT_THAT(message("[1] 2"), HasSubstr("nested lists"));
  EXPECT_THAT(message(std::string(100'000, '[').c_str()),
              HasSubstr("nested lists"));
  EXPECT_THAT(
      message((std::string(100, '[') + "1" + std::string(100, ']')).c_str()),
      HasSubstr("deep"));
}

TEST(JsonArrayTest, IntegersBeyondInt64AreFloating) {
  EXPECT_EQ(ParseJsonArray("9223372036854775807")->kind, Array::Kind::kInteger);
  EXPECT_EQ(ParseJsonArray("9223372036854775808")->kind,
            Array::Kind::kFloating);
}

TEST(CsvTest, RowsAndColumnsAreTheShape) {
  const Array matrix = *ParseCsv("1,2\n3,4\n5,6\n");
  EXPECT_THAT(matrix.shape, ElementsAre(3, 2));
  EXPECT_THAT(matrix.integers, ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(ParseCsv("1\n2\n3")->shape, ElementsAre(3));
  EXPECT_THAT(ParseCsv("1,2,3")->shape, ElementsAre(3));
}

TEST(CsvTest, CommentsSpacesBlankLinesAndCarriageReturnsAreSkipped) {
  const Array array =
      *ParseCsv("# logits\r\n 0.5 , -1 \r\n\r\nnan,2 # end\r\n");
  EXPECT_THAT(array.shape, ElementsAre(2, 2));
  EXPECT_EQ(array.kind, Array::Kind::kFloating);
  EXPECT_EQ(array.floats[1], -1);
  EXPECT_TRUE(std::isnan(array.floats[2]));
}

TEST(CsvTest, ErrorsSayWhere) {
  const auto message = [](const char* text) {
    return std::string(ParseCsv(text).status().message());
  };
  EXPECT_THAT(message("a,b\n1,2"), HasSubstr("line 1, column 1: 'a'"));
  EXPECT_THAT(message("1,2\n3,x"), HasSubstr("line 2, column 2: 'x'"));
  EXPECT_THAT(message("1,2\n3"), HasSubstr("line 2 has 1 numbers"));
  EXPECT_THAT(message("1,,2"), HasSubstr("column 2"));
  EXPECT_THAT(message("\n#\n"), HasSubstr("no numbers"));
}

TEST(ArrayTest, IntegersBecomeAnyDtypeThatHoldsThem) {
  const Array array = *ParseJsonArray("[0, 1, 200]");
  EXPECT_THAT(*CopyTensor<int64_t>(*ToTensor(array, v1::DTYPE_INT64)),
              ElementsAre(0, 1, 200));
  EXPECT_THAT(*CopyTensor<int32_t>(*ToTensor(array, v1::DTYPE_INT32)),
              ElementsAre(0, 1, 200));
  EXPECT_THAT(*CopyTensor<uint8_t>(*ToTensor(array, v1::DTYPE_UINT8)),
              ElementsAre(0, 1, 200));
  EXPECT_THAT(*CopyTensor<float>(*ToTensor(array, v1::DTYPE_FLOAT32)),
              ElementsAre(0, 1, 200));
  EXPECT_THAT(std::string(ToTensor(array, v1::DTYPE_BOOL).status().message()),
              HasSubstr("element 2: 200 does not fit bool"));
  EXPECT_FALSE(ToTensor(*ParseJsonArray("[256]"), v1::DTYPE_UINT8).ok());
  EXPECT_FALSE(ToTensor(*ParseJsonArray("[-1]"), v1::DTYPE_UINT8).ok());
  EXPECT_FALSE(ToTensor(array, v1::DTYPE_UNSPECIFIED).ok());
}

TEST(ArrayTest, FloatingNumbersBecomeIntegersOnlyIfTheyAre) {
  EXPECT_THAT(*CopyTensor<int64_t>(
                  *ToTensor(*ParseJsonArray("[1.0]"), v1::DTYPE_INT64)),
              ElementsAre(1));
  for (const char* bad : {"[0.5]", "[1e30]", "[\"NaN\"]", "[\"Infinity\"]",
                          "[9223372036854775808]"}) {
    EXPECT_FALSE(ToTensor(*ParseJsonArray(bad), v1::DTYPE_INT64).ok()) << bad;
  }
}

TEST(ArrayTest, NumbersAreRoundedOnceToEven) {
  const Array array = *ParseJsonArray("[1.00048828125, 1.00048828126, 0.1]");
  EXPECT_THAT(*WidenTensor(*ToTensor(array, v1::DTYPE_FLOAT16)),
              ElementsAre(1, 1.0009765625, 0.0999755859375));
  EXPECT_THAT(*WidenTensor(*ToTensor(array, v1::DTYPE_FLOAT32)),
              ElementsAre(1.00048828125, 1.00048828125, 0.1f));
  EXPECT_THAT(*WidenTensor(*ToTensor(array, v1::DTYPE_FLOAT64)),
              ElementsAre(1.00048828125, 1.00048828126, 0.1));
  EXPECT_THAT(
      *WidenTensor(*ToTensor(*ParseJsonArray("[1.00390625, 1.01171875]"),
                             v1::DTYPE_BFLOAT16)),
      ElementsAre(1, 1.015625));
}

}  // namespace
}  // namespace lossd::cli
