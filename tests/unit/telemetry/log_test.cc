// SPDX-License-Identifier: Apache-2.0

#include "server/telemetry/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"

namespace lossd {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;

class LogTest : public ::testing::Test {
 protected:
  ~LogTest() override { std::fclose(file_); }

  LogOptions Options() {
    return {.stream = file_, .now = [] { return absl::UnixEpoch(); }};
  }

  // The lines so far; the log must have ended.
  std::vector<std::string> Lines() {
    std::string all;
    std::rewind(file_);
    std::array<char, 4096> buffer;
    size_t got = 0;
    while ((got = std::fread(buffer.data(), 1, buffer.size(), file_)) > 0) {
      all.append(buffer.data(), got);
    }
    return absl::StrSplit(all, '\n', absl::SkipEmpty());
  }

  std::FILE* file_ = std::tmpfile();
};

TEST_F(LogTest, WritesALineForEachEventBeforeItEnds) {
  {
    Log log(Options());
    log.Event(LogLevel::kInfo, "started", {{"port", 1}});
    log.Event(LogLevel::kError, "failed");
  }
  EXPECT_THAT(Lines(),
              ElementsAre("1970-01-01T00:00:00.000000Z info started port=1",
                          "1970-01-01T00:00:00.000000Z error failed"));
}

TEST_F(LogTest, WritesOnlyFromItsLevelUp) {
  LogOptions options = Options();
  options.level = LogLevel::kWarning;
  {
    Log log(options);
    EXPECT_FALSE(log.Writes(LogLevel::kInfo));
    EXPECT_TRUE(log.Writes(LogLevel::kWarning));
    log.Event(LogLevel::kDebug, "a");
    log.Event(LogLevel::kInfo, "b");
    log.Event(LogLevel::kWarning, "c");
    log.Event(LogLevel::kError, "d");
  }
  EXPECT_THAT(Lines(), ElementsAre(EndsWith("warning c"), EndsWith("error d")));
}

TEST_F(LogTest, WritesJsonOnRequest) {
  LogOptions options = Options();
  options.format = LogFormat::kJson;
  { Log(options).Event(LogLevel::kInfo, "e", {{"k", "{}%s"}}); }
  EXPECT_THAT(Lines(),
              ElementsAre("{\"time\":\"1970-01-01T00:00:00.000000Z\",\"level\":"
                          "\"info\",\"event\":\"e\",\"k\":\"{}%s\"}"));
}

TEST_F(LogTest, KeepsLinesOfManyThreadsWhole) {
  {
    Log log(Options());
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&log] {
        for (int j = 0; j < 100; ++j) log.Event(LogLevel::kInfo, "event");
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  auto lines = Lines();
  EXPECT_EQ(lines.size(), 400u);
  for (const auto& line : lines) EXPECT_THAT(line, EndsWith("Z info event"));
}

TEST(LogToAFullPipe, LosesTheOldestLinesAndNeverWaits) {
  std::array<int, 2> ends;
  ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
  std::FILE* stream = fdopen(ends[1], "w");
  std::string all;
  int64_t lost = 0;
  {
    auto log = std::make_unique<Log>(LogOptions{.stream = stream});
    const std::string filler(900, 'x');
    // A pipe holds 64 KiB and the queue 512 lines.
    for (int i = 0; i < 2000; ++i) {
      log->Event(LogLevel::kInfo, "event", {{"i", i}, {"filler", filler}});
    }
    EXPECT_GT(log->Lost(), 1000);
    EXPECT_LT(log->Lost(), 1500);
    lost = log->Lost();
    std::thread reader([&] {
      std::array<char, 4096> buffer;
      ssize_t got = 0;
      while ((got = read(ends[0], buffer.data(), buffer.size())) > 0) {
        all.append(buffer.data(), static_cast<size_t>(got));
      }
    });
    log.reset();
    std::fclose(stream);
    reader.join();
  }
  EXPECT_TRUE(absl::StrContains(all, "event i=1999 "));
  EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), 2000 - lost);
  close(ends[0]);
}

}  // namespace
}  // namespace lossd
