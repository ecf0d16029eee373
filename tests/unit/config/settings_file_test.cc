// SPDX-License-Identifier: Apache-2.0

#include "server/config/settings_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/config/settings_test_support.h"

namespace lossd {
namespace {

using ::testing::ElementsAre;

Given Read(absl::string_view content) {
  return ParseSettingsFile("f", content, OptionTable());
}

TEST(SettingsFile, ValuesMayBeQuotedOrNot) {
  Given given = Read(
      "listen = \"127.0.0.1:1\"\n"
      "instance='a\"b\\c # d'   # a comment\n"
      "  threads=4#four\r\n"
      "target = \"\"\n"
      "port-file = \"a \\\"b\\\\ # c\"\n");
  EXPECT_THAT(given.problems, ElementsAre());
  EXPECT_EQ(given.values["listen"].text, "127.0.0.1:1");
  EXPECT_EQ(given.values["instance"].text, "a\"b\\c # d");
  EXPECT_EQ(given.values["threads"].text, "4");
  EXPECT_EQ(given.values["target"].text, "");
  EXPECT_EQ(given.values["port-file"].text, "a \"b\\ # c");
}

TEST(SettingsFile, OriginsNameTheLine) {
  Given given = Read("# first\n\n   \nthreads = 4");
  EXPECT_EQ(given.values["threads"].origin, "f:4");
}

TEST(SettingsFile, AnEmptyFileSetsNothing) {
  EXPECT_TRUE(Read("").values.empty());
  EXPECT_TRUE(Read("\n#\n").problems.empty());
}

TEST(SettingsFile, ProblemsNameTheLine) {
  EXPECT_THAT(
      Read("[server]\nthreads\nthreads=\nthreads= # 4\ninstance = \"a\n"
           "instance = 'a' b\ninstance = \"\\n\"\ninstance = \"\\\n")
          .problems,
      ElementsAre("f:1: there are no sections", "f:2: a line is NAME = VALUE",
                  "f:3: the value is missing", "f:4: the value is missing",
                  "f:5: the closing quote is missing",
                  "f:6: something follows the closing quote",
                  "f:7: a backslash stands before neither \" nor \\",
                  "f:8: a backslash stands before neither \" nor \\"));
}

TEST(SettingsFile, NamesAreChecked) {
  EXPECT_THAT(
      Read("lisen = a\nconfig = b\nthreads = 1\nthreads = 2\n"
           "max_elements = 1\nprint-config = true\n")
          .problems,
      ElementsAre("f:1: there is no setting lisen; did you mean listen?",
                  "f:2: config cannot be set in a file",
                  "f:4: threads is already set at f:3",
                  "f:5: there is no setting max_elements; did you mean "
                  "max-elements?",
                  "f:6: there is no setting print-config"));
}

TEST(SettingsFile, QuotedValuesAreReadBack) {
  for (const char* text : {"", "a", "127.0.0.1:1", "a # b", " a ", "\"", "\\",
                           "'", "true", "12"}) {
    Given given = Read("instance = " + QuoteSetting(text) + "  # x");
    EXPECT_THAT(given.problems, ElementsAre());
    EXPECT_EQ(given.values["instance"].text, text);
  }
}

TEST(SettingsFile, LongFilesAreRefused) {
  TemporaryFile longest(std::string(1 << 20, '#'));
  TemporaryFile longer(std::string((1 << 20) + 1, '#'));
  TemporaryFile empty("");
  EXPECT_EQ(ReadSettingsFile(longest.path())->size(), size_t{1} << 20);
  EXPECT_EQ(ReadSettingsFile(empty.path())->size(), 0u);
  EXPECT_EQ(ReadSettingsFile(longer.path()).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace lossd
