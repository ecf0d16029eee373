// SPDX-License-Identifier: Apache-2.0
#include "client/cli/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "lossd/tensor.h"

namespace lossd::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// An npy file as numpy writes it.
std::string File(const std::string& descr, bool fortran,
                 const std::string& shape, const std::string& data,
                 int major = 1) {
  std::string header = absl::StrCat(
      "{'descr': '", descr, "', 'fortran_order': ", fortran ? "True" : "False",
      ", 'shape': ", shape, ", }");
  header.append(20, ' ');
  header += '\n';
  std::string length(major == 1 ? 2 : 4, '\0');
  length[0] = static_cast<char>(header.size());
  return absl::StrCat(std::string("\x93NUMPY", 6),
                      std::string(1, static_cast<char>(major)),
                      std::string(1, '\0'), length, header, data);
}

template <typename T>
std::string Bytes(std::vector<T> values, bool big_endian = false) {
  std::string bytes;
  for (const T value : values) {
    std::string element(sizeof(T), '\0');
    std::memcpy(element.data(), &value, sizeof(T));
    bytes +=
        big_endian ? std::string(element.rbegin(), element.rend()) : element;
  }
  return bytes;
}

TEST(NpyTest, EveryDtypeIsRead) {
  EXPECT_THAT(
      ParseNpy(File("<f4", false, "(2,)", Bytes<float>({0.5, -2})))->floats,
      ElementsAre(0.5, -2));
  EXPECT_THAT(
      ParseNpy(File("<f8", false, "(1,)", Bytes<double>({0.1})))->floats,
      ElementsAre(0.1));
  EXPECT_THAT(
      ParseNpy(File("<f2", false, "(1,)", Bytes<uint16_t>({0x3e00})))->floats,
      ElementsAre(1.5));
  EXPECT_THAT(
      ParseNpy(File("<i4", false, "(1,)", Bytes<int32_t>({-7})))->integers,
      ElementsAre(-7));
  EXPECT_THAT(
      ParseNpy(File("<i8", false, "(1,)", Bytes<int64_t>({9007199254740993})))
          ->integers,
      ElementsAre(9007199254740993));
  EXPECT_THAT(
      ParseNpy(File("|u1", false, "(1,)", Bytes<uint8_t>({200})))->integers,
      ElementsAre(200));
  const Array mask =
      *ParseNpy(File("|b1", false, "(2,)", Bytes<uint8_t>({1, 0})));
  EXPECT_EQ(mask.kind, Array::Kind::kBool);
  EXPECT_EQ(mask.dtype, v1::DTYPE_BOOL);
  EXPECT_THAT(mask.integers, ElementsAre(1, 0));
}

TEST(NpyTest, BigEndianIsTurned) {
  EXPECT_THAT(
      ParseNpy(File(">f8", false, "(2,)", Bytes<double>({0.1, -3}, true)))
          ->floats,
      ElementsAre(0.1, -3));
  EXPECT_THAT(ParseNpy(File(">i4", false, "(1,)", Bytes<int32_t>({1000}, true)))
                  ->integers,
              ElementsAre(1000));
}

TEST(NpyTest, FortranOrderIsTransposed) {
  const Array matrix = *ParseNpy(
      File("<i4", true, "(2, 3)", Bytes<int32_t>({1, 4, 2, 5, 3, 6})));
  EXPECT_THAT(matrix.shape, ElementsAre(2, 3));
  EXPECT_THAT(matrix.integers, ElementsAre(1, 2, 3, 4, 5, 6));
  const Array cube = *ParseNpy(
      File("<i4", true, "(2, 2, 2)", Bytes<int32_t>({0, 4, 2, 6, 1, 5, 3, 7})));
  EXPECT_THAT(cube.integers, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_THAT(
      ParseNpy(File(">i4", true, "(2, 1)", Bytes<int32_t>({8, 9}, true)))
          ->integers,
      ElementsAre(8, 9));
}

TEST(NpyTest, Formats1To3AreRead) {
  for (const int major : {1, 2, 3}) {
    EXPECT_THAT(
        ParseNpy(File("<f4", false, "(1,)", Bytes<float>({5}), major))->floats,
        ElementsAre(5));
  }
  EXPECT_THAT(
      std::string(
          ParseNpy(File("<f4", false, "(1,)", "", 4)).status().message()),
      HasSubstr("format 4"));
}

TEST(NpyTest, ScalarsAndEmptyArraysHaveTheirShapes) {
  const Array scalar = *ParseNpy(File("<f4", false, "()", Bytes<float>({5})));
  EXPECT_THAT(scalar.shape, IsEmpty());
  EXPECT_THAT(scalar.floats, ElementsAre(5));
  EXPECT_THAT(ParseNpy(File("<f4", false, "(0, 4)", ""))->shape,
              ElementsAre(0, 4));
}

TEST(NpyTest, OtherElementsAreRefusedByName) {
  for (const char* descr : {"<c8", "<i2", "<u4", "<U5", "|O", "<M8[ns]"}) {
    EXPECT_THAT(std::string(ParseNpy(File(descr, false, "(1,)", "xxxxxxxx"))
                                .status()
                                .message()),
                HasSubstr(absl::StrCat("'", descr, "'")));
  }
}

TEST(NpyTest, DamagedFilesAreErrors) {
  const std::string good =
      File("<f4", false, "(2, 2)", Bytes<float>({1, 2, 3, 4}));
  ASSERT_TRUE(ParseNpy(good).ok());
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(ParseNpy(good.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(ParseNpy(good + "x").ok());
  EXPECT_FALSE(ParseNpy(File("<f4", false, "(-1,)", "")).ok());
  EXPECT_FALSE(
      ParseNpy(File("<f4", false, "(4294967296, 4294967296)", "")).ok());
  EXPECT_FALSE(ParseNpy(File("<f4", false, "[2]", Bytes<float>({1, 2}))).ok());
  EXPECT_FALSE(ParseNpy(File("<f4", false, "(x,)", "")).ok());
  EXPECT_FALSE(ParseNpy("PK\x03\x04").ok());
}

TEST(NpyTest, WhatIsWrittenIsRead) {
  const v1::Tensor tensor = MakeTensor<double>({0.1, 2, 3, 4, 5, 6}, {2, 3});
  const std::string file = *EncodeNpy(tensor);
  EXPECT_TRUE(IsNpy(file));
  EXPECT_EQ(file.find('\n') % 64, 63u);
  const Array array = *ParseNpy(file);
  EXPECT_EQ(array.dtype, v1::DTYPE_FLOAT64);
  EXPECT_THAT(array.shape, ElementsAre(2, 3));
  EXPECT_THAT(array.floats, ElementsAre(0.1, 2, 3, 4, 5, 6));
  EXPECT_THAT(ParseNpy(*EncodeNpy(MakeTensor<int64_t>({7}, {1})))->shape,
              ElementsAre(1));
  EXPECT_THAT(ParseNpy(*EncodeNpy(MakeTensor<float>({7}, {})))->shape,
              IsEmpty());
  const Array brain =
      *ParseNpy(*EncodeNpy(MakeTensor<BFloat16>({ToBFloat16(1.5)}, {1})));
  EXPECT_EQ(brain.dtype, v1::DTYPE_FLOAT32);
  EXPECT_THAT(brain.floats, ElementsAre(1.5));
}

}  // namespace
}  // namespace lossd::cli
