// SPDX-License-Identifier: Apache-2.0

#include "server/telemetry/log_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

namespace lossd {
namespace {

using ::nlohmann::json;

const absl::Time kTime = absl::FromUnixMicros(1769903999123456);

std::string Text(const std::vector<LogField>& fields) {
  return FormatLogLine(LogFormat::kText, kTime, LogLevel::kInfo, "e", fields);
}
json Json(const std::vector<LogField>& fields) {
  return json::parse(
      FormatLogLine(LogFormat::kJson, kTime, LogLevel::kInfo, "e", fields));
}

TEST(LogLine, TextIsTimeLevelEventAndFields) {
  EXPECT_EQ(FormatLogLine(LogFormat::kText, kTime, LogLevel::kWarning,
                          "request_failed",
                          {{"request_id", "a b"}, {"seconds", 0.5}}),
            "2026-01-31T23:59:59.123456Z warning request_failed "
            "request_id=\"a b\" seconds=0.5");
}

TEST(LogLine, JsonIsOneObject) {
  EXPECT_EQ(
      FormatLogLine(LogFormat::kJson, kTime, LogLevel::kError, "request_failed",
                    {{"request_id", "a b"}, {"seconds", 0.5}}),
      "{\"time\":\"2026-01-31T23:59:59.123456Z\",\"level\":\"error\","
      "\"event\":\"request_failed\",\"request_id\":\"a b\","
      "\"seconds\":0.5}");
}

TEST(LogLine, KeepsTheTypesOfValues) {
  std::string text = "text";
  json line = Json({{"text", text},
                    {"literal", "x"},
                    {"view", absl::string_view("v")},
                    {"true", true},
                    {"int", -3},
                    {"int64", std::numeric_limits<int64_t>::max()},
                    {"size", size_t{7}},
                    {"double", 0.25},
                    {"duration", absl::Milliseconds(1500)}});
  EXPECT_EQ(line["text"], "text");
  EXPECT_EQ(line["literal"], "x");
  EXPECT_EQ(line["view"], "v");
  EXPECT_EQ(line["true"], true);
  EXPECT_EQ(line["int"], -3);
  EXPECT_EQ(line["int64"], std::numeric_limits<int64_t>::max());
  EXPECT_EQ(line["size"], 7);
  EXPECT_EQ(line["double"], 0.25);
  EXPECT_EQ(line["duration"], 1.5);
}

TEST(LogLine, NumbersThatJsonDoesNotHaveAreText) {
  json line = Json({{"nan", std::nan("")},
                    {"inf", std::numeric_limits<double>::infinity()},
                    {"minus", -std::numeric_limits<double>::infinity()}});
  EXPECT_EQ(line["nan"], "NaN");
  EXPECT_EQ(line["inf"], "Infinity");
  EXPECT_EQ(line["minus"], "-Infinity");
}

TEST(LogLine, ControlCharactersCannotEndOrRuleALine) {
  std::string hostile("a\n{\"event\":\"forged\"}\r\t\x1b[31m\x7f\0b\"\\", 32);
  EXPECT_EQ(Json({{"id", hostile}})["id"], hostile);
  for (LogFormat format : {LogFormat::kText, LogFormat::kJson}) {
    std::string line = FormatLogLine(format, kTime, LogLevel::kInfo, "e",
                                     {{"id", hostile}, {"c1", "\xC2\x9B"}});
    for (unsigned char c : line) EXPECT_TRUE(c >= 0x20 && c < 0x7f) << int{c};
  }
}

TEST(LogLine, BytesThatAreNotUtf8AreReplaced) {
  const std::string replaced = "\xEF\xBF\xBD";
  EXPECT_EQ(Json({{"id", "a\xFFz"}})["id"], "a" + replaced + "z");
  EXPECT_EQ(Json({{"id", "\xC0\x80"}})["id"], replaced + replaced);
  EXPECT_EQ(Json({{"id", "\xED\xA0\x80"}})["id"],
            replaced + replaced + replaced);
  EXPECT_EQ(Json({{"id", "\xE2\x82"}})["id"], replaced + replaced);
  EXPECT_EQ(Json({{"id", "\xF4\x90\x80\x80"}})["id"],
            replaced + replaced + replaced + replaced);
  for (const char* whole : {"\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80",
                            "\xF4\x8F\xBF\xBF", "\xE0\xA0\x80"}) {
    EXPECT_EQ(Json({{"id", whole}})["id"], whole);
  }
}

TEST(LogLine, RandomBytesAlwaysGiveJson) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int i = 0; i < 2000; ++i) {
    std::string bytes(random() % 40, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    EXPECT_NO_THROW(Json({{"id", bytes}, {"n", i}}));
    EXPECT_EQ(Text({{"id", bytes}}).find('\n'), std::string::npos);
  }
}

TEST(LogLine, LongTextsAreCut) {
  std::string fits(1024, 'x');
  EXPECT_EQ(Json({{"id", fits}})["id"], fits);
  EXPECT_EQ(Json({{"id", fits + "x"}})["id"], fits + "\xE2\x80\xA6");
  std::string split = std::string(1023, 'x') + "\xE2\x82\xAC";
  EXPECT_EQ(Json({{"id", split}})["id"],
            std::string(1023, 'x') + "\xE2\x80\xA6");
}

TEST(LogLine, TextIsQuotedWhereItCouldBeMisread) {
  EXPECT_THAT(Text({{"k", "plain-1.2:/x"}}),
              ::testing::EndsWith(" k=plain-1.2:/x"));
  EXPECT_THAT(Text({{"k", ""}}), ::testing::EndsWith(" k=\"\""));
  EXPECT_THAT(Text({{"k", "a=b"}}), ::testing::EndsWith(" k=\"a=b\""));
  EXPECT_THAT(Text({{"k", "\""}}), ::testing::EndsWith(" k=\"\\\"\""));
  EXPECT_THAT(Text({{"k", "\xC3\xA9"}}),
              ::testing::EndsWith(" k=\"\xC3\xA9\""));
}

}  // namespace
}  // namespace lossd
