// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/number_list.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"
#include "server/base/half.h"
#include "tests/unit/rpc/json_message.h"

namespace lossd {
namespace {

using google::protobuf::Value;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr TensorName kName = {"target", "evaluation.cross_entropy.target"};

std::optional<NumberList> Read(const std::string& json,
                               Violations* violations) {
  return ReadNumbers(FromJson<Value>(json), kName, 16, violations);
}

NumberList ReadGood(const std::string& json) {
  Violations violations;
  std::optional<NumberList> list = Read(json, &violations);
  EXPECT_TRUE(list.has_value()) << json;
  return list.value_or(NumberList());
}

// The one violation of numbers that cannot be read.
Violation ReadBad(const std::string& json) {
  Violations violations;
  EXPECT_FALSE(Read(json, &violations).has_value()) << json;
  EXPECT_EQ(violations.count(), 1);
  return violations.kept().at(0);
}

template <typename T>
std::vector<T> Pack(const std::string& json, Dtype dtype,
                    Violations* violations) {
  const NumberList list = ReadGood(json);
  const AlignedBuffer buffer = PackNumbers(list, dtype, kName, violations);
  std::vector<T> packed(static_cast<size_t>(buffer.size()) / sizeof(T));
  std::memcpy(packed.data(), buffer.data(), packed.size() * sizeof(T));
  return packed;
}

std::string WrongPack(const std::string& json, Dtype dtype) {
  Violations violations;
  Pack<uint8_t>(json, dtype, &violations);
  EXPECT_EQ(violations.count(), 1);
  EXPECT_EQ(violations.kept().at(0).reason, Reason::kValueInvalid);
  EXPECT_EQ(violations.kept().at(0).field,
            "evaluation.cross_entropy.target.values");
  return violations.kept().at(0).description;
}

template <typename T>
std::string Written(Dtype dtype, const Shape& shape,
                    const std::vector<T>& elements) {
  TensorView view;
  view.dtype = dtype;
  view.shape = shape;
  view.elements = static_cast<int64_t>(elements.size());
  view.data = reinterpret_cast<const uint8_t*>(elements.data());
  Value value;
  WriteNumbers(view, &value);
  std::string json;
  EXPECT_TRUE(google::protobuf::util::MessageToJsonString(value, &json).ok());
  return json;
}

TEST(NumberListTest, NestingGivesTheShape) {
  const NumberList list = ReadGood("[[1, 2, 3], [4, 5, 6]]");
  EXPECT_THAT(list.shape, ElementsAre(2, 3));
  EXPECT_THAT(list.numbers, ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(NumberListTest, ANumberIsAScalar) {
  const NumberList list = ReadGood("-0.5");
  EXPECT_THAT(list.shape, IsEmpty());
  EXPECT_THAT(list.numbers, ElementsAre(-0.5));
}

TEST(NumberListTest, EmptyListsHaveTheSizeZero) {
  EXPECT_THAT(ReadGood("[]").shape, ElementsAre(0));
  EXPECT_THAT(ReadGood("[[], []]").shape, ElementsAre(2, 0));
}

TEST(NumberListTest, WordsStandForTheNumbersThatJsonLacks) {
  const NumberList list =
      ReadGood(R"(["NaN", "Infinity", "-Infinity", true, false])");
  EXPECT_TRUE(std::isnan(list.numbers.at(0)));
  EXPECT_EQ(list.numbers.at(1), std::numeric_limits<double>::infinity());
  EXPECT_EQ(list.numbers.at(2), -std::numeric_limits<double>::infinity());
  EXPECT_EQ(list.numbers.at(3), 1);
  EXPECT_EQ(list.numbers.at(4), 0);
}

TEST(NumberListTest, RaggedListsNameTheirPosition) {
  const Violation violation = ReadBad("[[1, 2], [3]]");
  EXPECT_EQ(violation.reason, Reason::kValueInvalid);
  EXPECT_EQ(violation.field, "evaluation.cross_entropy.target.values");
  EXPECT_THAT(violation.description,
              HasSubstr("target[1] has length 1, but target[0] has length 2"));
}

TEST(NumberListTest, AListAmongNumbersIsWrong) {
  EXPECT_THAT(ReadBad("[1, [2]]").description,
              HasSubstr("target[1] is a list, but target[0] is a number"));
  EXPECT_THAT(ReadBad("[[1], 2]").description,
              HasSubstr("target[1] is a number, but target[0] is a list"));
}

TEST(NumberListTest, WhatIsNoNumberNamesItsPosition) {
  EXPECT_THAT(ReadBad(R"([[1, 2], [3, "four"]])").description,
              HasSubstr("target[1, 1] is a string, not a number"));
  EXPECT_THAT(ReadBad("[1, null]").description,
              HasSubstr("target[1] is null, not a number"));
  EXPECT_THAT(ReadBad(R"({"a": 1})").description,
              HasSubstr("target is an object, not a number"));
  Violations violations;
  EXPECT_FALSE(ReadNumbers(Value(), kName, 16, &violations).has_value());
  EXPECT_THAT(violations.kept().at(0).description,
              HasSubstr("target is not set, not a number"));
}

TEST(NumberListTest, DimensionsAreLimited) {
  Violations violations;
  EXPECT_TRUE(
      ReadNumbers(FromJson<Value>("[[1]]"), kName, 2, &violations).has_value());
  EXPECT_FALSE(ReadNumbers(FromJson<Value>("[[[1]]]"), kName, 2, &violations)
                   .has_value());
  EXPECT_EQ(violations.kept().at(0).reason, Reason::kLimitExceeded);
}

TEST(NumberListTest, EveryDtypeIsPacked) {
  Violations violations;
  const std::string json = "[0, 1]";
  EXPECT_THAT(Pack<float>(json, Dtype::kFloat32, &violations),
              ElementsAre(0, 1));
  EXPECT_THAT(Pack<double>(json, Dtype::kFloat64, &violations),
              ElementsAre(0, 1));
  EXPECT_THAT(Pack<uint16_t>(json, Dtype::kFloat16, &violations),
              ElementsAre(0, 0x3c00));
  EXPECT_THAT(Pack<uint16_t>(json, Dtype::kBfloat16, &violations),
              ElementsAre(0, 0x3f80));
  EXPECT_THAT(Pack<int32_t>(json, Dtype::kInt32, &violations),
              ElementsAre(0, 1));
  EXPECT_THAT(Pack<int64_t>(json, Dtype::kInt64, &violations),
              ElementsAre(0, 1));
  EXPECT_THAT(Pack<uint8_t>(json, Dtype::kUint8, &violations),
              ElementsAre(0, 1));
  EXPECT_THAT(Pack<uint8_t>(json, Dtype::kBool, &violations),
              ElementsAre(0, 1));
  EXPECT_TRUE(violations.empty());
}

TEST(NumberListTest, HalvesAreRoundedOnce) {
  Violations violations;
  // Just above the middle of 1 and the next float16: rounding to float first
  // would give the middle, and then 1.
  EXPECT_THAT(
      Pack<uint16_t>("1.00048828125000000001", Dtype::kFloat16, &violations),
      ElementsAre(0x3c00));
  EXPECT_THAT(Pack<uint16_t>("1.0004882812501", Dtype::kFloat16, &violations),
              ElementsAre(0x3c01));
}

TEST(NumberListTest, IntegersMustBeIntegers) {
  EXPECT_EQ(WrongPack("[1, 0.5, 1]", Dtype::kInt64),
            "target[1] = 0.5 is not an integer, but dtype is int64.");
  EXPECT_EQ(WrongPack(R"([0, "NaN", 1, 2.5])", Dtype::kInt32),
            "target[1] = nan is not an integer, but dtype is int32. 2 of 4 "
            "numbers cannot be int32.");
}

TEST(NumberListTest, IntegersMustFitTheirDtype) {
  EXPECT_EQ(WrongPack("[[1, 256]]", Dtype::kUint8),
            "target[0, 1] = 256 does not fit, but dtype is uint8.");
  EXPECT_EQ(WrongPack("-1", Dtype::kUint8),
            "target = -1 does not fit, but dtype is uint8.");
  WrongPack("2", Dtype::kBool);
  WrongPack("2147483648", Dtype::kInt32);
  WrongPack("9223372036854775808", Dtype::kInt64);
  Violations violations;
  EXPECT_THAT(
      Pack<int32_t>("[-2147483648, 2147483647]", Dtype::kInt32, &violations),
      ElementsAre(INT32_MIN, INT32_MAX));
  EXPECT_THAT(Pack<int64_t>("-9223372036854775808", Dtype::kInt64, &violations),
              ElementsAre(INT64_MIN));
  EXPECT_TRUE(violations.empty());
}

TEST(NumberListTest, ValuesAreWithheldOnRequest) {
  Violations violations(/*withhold_values=*/true);
  Pack<int64_t>("[0.5]", Dtype::kInt64, &violations);
  EXPECT_EQ(violations.kept().at(0).description,
            "target[0] = (withheld) is not an integer, but dtype is int64.");
}

TEST(NumberListTest, NumbersAreWrittenAsShortAsTheyRead) {
  EXPECT_EQ(Written<float>(Dtype::kFloat32, {2}, {0.1f, -0.278f}),
            "[0.1,-0.278]");
  EXPECT_EQ(Written<double>(Dtype::kFloat64, {1}, {0.1}), "[0.1]");
  EXPECT_EQ(Written<uint16_t>(Dtype::kFloat16, {1}, {0x3c00}), "[1]");
  EXPECT_EQ(Written<int64_t>(Dtype::kInt64, {2, 1}, {-3, 4}), "[[-3],[4]]");
  EXPECT_EQ(Written<float>(Dtype::kFloat32, {}, {0.5f}), "0.5");
  EXPECT_EQ(Written<float>(Dtype::kFloat32, {2, 0}, {}), "[[],[]]");
}

TEST(NumberListTest, NumbersThatJsonLacksAreWrittenAsWords) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(Written<float>(Dtype::kFloat32, {3},
                           {std::nanf(""), infinity, -infinity}),
            R"(["NaN","Infinity","-Infinity"])");
}

TEST(NumberListTest, WhatIsWrittenReadsBackAsTheSameBits) {
  std::vector<float> elements;
  for (uint32_t bits = 1; bits < 0x7f800000; bits += 0x00345671) {
    elements.push_back(std::bit_cast<float>(bits));
  }
  const std::string json = Written<float>(
      Dtype::kFloat32, {static_cast<int64_t>(elements.size())}, elements);
  Violations violations;
  EXPECT_EQ(Pack<float>(json, Dtype::kFloat32, &violations), elements);
}

}  // namespace
}  // namespace lossd
