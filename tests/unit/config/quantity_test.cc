// SPDX-License-Identifier: Apache-2.0

#include "server/config/quantity.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"

namespace lossd {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

TEST(ParseBytes, UnderstandsEveryUnit) {
  EXPECT_EQ(*ParseBytes("0"), 0);
  EXPECT_EQ(*ParseBytes("1000"), 1000);
  EXPECT_EQ(*ParseBytes("12B"), 12);
  EXPECT_EQ(*ParseBytes("1KiB"), 1024);
  EXPECT_EQ(*ParseBytes("64MiB"), 67108864);
  EXPECT_EQ(*ParseBytes("1GiB"), 1073741824);
  EXPECT_EQ(*ParseBytes("2TiB"), int64_t{2} << 40);
  EXPECT_EQ(*ParseBytes("64Mi"), 67108864);
  EXPECT_EQ(*ParseBytes("3Ki"), 3072);
  EXPECT_EQ(*ParseBytes("1kB"), 1000);
  EXPECT_EQ(*ParseBytes("5MB"), 5000000);
  EXPECT_EQ(*ParseBytes("1TB"), 1000000000000);
}

TEST(ParseBytes, StopsAtTheLargestNumber) {
  EXPECT_EQ(*ParseBytes(absl::StrCat(kMax)), kMax);
  EXPECT_FALSE(ParseBytes("9223372036854775808").ok());
  EXPECT_EQ(*ParseBytes("8388607TiB"), int64_t{8388607} << 40);
  EXPECT_FALSE(ParseBytes("8388608TiB").ok());
  EXPECT_FALSE(ParseBytes("99999999999999999999GiB").ok());
}

TEST(ParseBytes, RefusesOtherForms) {
  for (const char* text : {"", "MiB", "-1", "+1", "1.5GiB", "64mib", "64 MiB",
                           " 64", "64 ", "0x10", "1e6", "64MiBs", "inf"}) {
    EXPECT_FALSE(ParseBytes(text).ok()) << text;
  }
}

TEST(FormatBytes, IsParsedBack) {
  for (int64_t bytes :
       {int64_t{0}, int64_t{1}, int64_t{1023}, int64_t{1024}, int64_t{1025},
        int64_t{1000000}, int64_t{64} << 20, (int64_t{1} << 31) - 1,
        int64_t{3} << 30, int64_t{1} << 40, kMax}) {
    EXPECT_EQ(*ParseBytes(FormatBytes(bytes)), bytes) << FormatBytes(bytes);
  }
  EXPECT_EQ(FormatBytes(64 << 20), "64MiB");
  EXPECT_EQ(FormatBytes(3 << 9), "1536");
}

TEST(ParseCount, TakesDigitsOnly) {
  EXPECT_EQ(*ParseCount("0"), 0);
  EXPECT_EQ(*ParseCount("007"), 7);
  EXPECT_EQ(*ParseCount(absl::StrCat(kMax)), kMax);
  for (const char* text : {"", "-1", "+1", " 1", "1 ", "1.0", "1e3", "0x1",
                           "9223372036854775808", "one"}) {
    EXPECT_FALSE(ParseCount(text).ok()) << text;
  }
}

TEST(ParseOperations, TakesFiniteNumbers) {
  EXPECT_EQ(*ParseOperations("0"), 0);
  EXPECT_EQ(*ParseOperations("1e12"), 1e12);
  EXPECT_EQ(*ParseOperations("2.5"), 2.5);
  EXPECT_EQ(*ParseOperations("1e-3"), 1e-3);
  for (const char* text :
       {"", "-1", "-0", "nan", "inf", "1e999", " 1", "0x10", "1e", "1,000"}) {
    EXPECT_FALSE(ParseOperations(text).ok()) << text;
  }
}

TEST(FormatOperations, IsParsedBack) {
  for (double value : {0.0, 1.0, 65536.0, 1e12, 1e18, 0.1, 1.0 / 3, 12345.678,
                       9007199254740993.0}) {
    EXPECT_EQ(*ParseOperations(FormatOperations(value)), value);
  }
}

TEST(ParseInterval, TakesFiniteDurations) {
  EXPECT_EQ(*ParseInterval("500ms"), absl::Milliseconds(500));
  EXPECT_EQ(*ParseInterval("5s"), absl::Seconds(5));
  EXPECT_EQ(*ParseInterval("1m30s"), absl::Seconds(90));
  EXPECT_EQ(*ParseInterval("1.5h"), absl::Minutes(90));
  EXPECT_EQ(*ParseInterval("0"), absl::ZeroDuration());
  for (const char* text : {"", "5", "-5s", "inf", "-inf", "5 s", "s", "5d"}) {
    EXPECT_FALSE(ParseInterval(text).ok()) << text;
  }
}

TEST(ParseSwitch, TakesWordsInAnyCase) {
  for (const char* text : {"true", "YES", "on", "1"}) {
    EXPECT_TRUE(*ParseSwitch(text)) << text;
  }
  for (const char* text : {"false", "No", "OFF", "0"}) {
    EXPECT_FALSE(*ParseSwitch(text)) << text;
  }
  for (const char* text : {"", "2", "maybe", "true "}) {
    EXPECT_FALSE(ParseSwitch(text).ok()) << text;
  }
}

}  // namespace
}  // namespace lossd
