// SPDX-License-Identifier: Apache-2.0
//
// Flag before environment before file before default, for every option.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/config/option_table.h"
#include "tests/unit/config/settings_test_support.h"

namespace lossd {
namespace {

// An option with three values that differ from one another and its default,
// written as --print-config writes them.
struct Sample {
  std::string name;
  std::string flag;
  std::string environment;
  std::string file;
};

std::vector<Sample> Samples() {
  return {
      {"listen", "127.0.0.1:1", "127.0.0.1:2,unix:/run/a", "unix:/run/b"},
      {"admin-listen", "127.0.0.1:1", "none", "0.0.0.0:3"},
      {"unix-socket-mode", "0666", "0660", "0000"},
      {"insecure", "true", "false", "true"},
      {"port-file", "/flag", "/environment", "/file"},
      {"threads", "3", "4", "5"},
      {"io-threads", "3", "4", "5"},
      {"max-idle-bytes", "0", "2GiB", "3KiB"},
      {"max-shared-memory-bytes", "1MiB", "2GiB", "4KiB"},
      {"shared-memory-listen", "none", "none", "none"},
      {"shared-memory-uids", "1", "2,3", "none"},
      {"default-device", "cuda", "cpu", "cuda"},
      {"cuda-memory-bytes", "1GiB", "2GiB", "3MiB"},
      {"cuda-batches-in-flight", "1", "3", "4"},
      {"target", "AVX2", "SSE4", "SSE2"},
      {"instance", "flag", "environment", "file"},
      {"log-level", "debug", "error", "warning"},
      {"log-format", "json", "text", "json"},
      {"withhold-values", "true", "false", "true"},
      {"drain-delay", "1s", "500ms", "0"},
      {"drain-timeout", "1s", "1m", "2h"},
      {"max-message-bytes", "1MiB", "2MiB", "1000001"},
      {"max-response-bytes", "1MiB", "2MiB", "3KiB"},
      {"max-elements", "1", "2", "3"},
      {"max-dimensions", "1", "2", "3"},
      {"max-operations", "1", "2.5", "30000"},
      {"max-scratch-bytes", "1MiB", "2GiB", "3KiB"},
      {"max-deadline", "1s", "500ms", "1h30m"},
      {"max-in-flight-bytes", "1GiB", "2GiB", "128MiB"},
      {"max-queue-requests", "1", "2", "3"},
      {"max-queue-bytes", "1GiB", "2GiB", "128MiB"},
      {"max-queue-operations", "2000000000000", "1e+15", "1e+18"},
      {"batch-workers", "3", "4", "5"},
      {"max-batch-requests", "1", "2", "3"},
      {"max-batch-rows", "1", "2", "3"},
      {"max-batch-bytes", "1MiB", "2MiB", "3KiB"},
      {"inline-operations", "0", "1", "1000"},
  };
}

class Precedence : public ::testing::TestWithParam<Sample> {
 protected:
  Precedence() : file_(absl::StrCat(p().name, " = \"", p().file, "\"\n")) {}

  const Sample& p() { return GetParam(); }
  std::string Flag() { return absl::StrCat("--", p().name, "=", p().flag); }
  std::string Config() { return absl::StrCat("--config=", file_.path()); }
  std::string Variable() {
    return absl::StrCat(EnvironmentName(p().name), "=", p().environment);
  }

  void Expect(const absl::StatusOr<Invocation>& got,
              const std::string& expected) {
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_EQ(InForce(*got, p().name), expected);
  }

  TemporaryFile file_;
};

TEST_P(Precedence, FileGoesBeforeDefault) {
  Expect(Parse({Config()}),
         absl::StrCat(p().file, " from ", file_.path(), ":1"));
}

TEST_P(Precedence, EnvironmentGoesBeforeDefault) {
  Expect(Parse({}, {Variable()}),
         absl::StrCat(p().environment, " from ", EnvironmentName(p().name)));
}

TEST_P(Precedence, FlagGoesBeforeDefault) {
  Expect(Parse({Flag()}), absl::StrCat(p().flag, " from --", p().name));
}

TEST_P(Precedence, EnvironmentGoesBeforeFile) {
  Expect(Parse({Config()}, {Variable()}),
         absl::StrCat(p().environment, " from ", EnvironmentName(p().name)));
}

TEST_P(Precedence, FlagGoesBeforeFile) {
  Expect(Parse({Config(), Flag()}),
         absl::StrCat(p().flag, " from --", p().name));
}

TEST_P(Precedence, FlagGoesBeforeEnvironment) {
  Expect(Parse({Flag()}, {Variable()}),
         absl::StrCat(p().flag, " from --", p().name));
}

TEST_P(Precedence, FlagGoesBeforeEnvironmentAndFile) {
  Expect(Parse({Flag(), Config()}, {Variable()}),
         absl::StrCat(p().flag, " from --", p().name));
}

INSTANTIATE_TEST_SUITE_P(EveryOption, Precedence,
                         ::testing::ValuesIn(Samples()), [](const auto& info) {
                           std::string name = info.param.name;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(PrecedenceOfFiles, FlagNamesTheFileBeforeTheEnvironment) {
  TemporaryFile of_flag("threads = 3\n");
  TemporaryFile of_environment("threads = 4\n");
  std::string variable = absl::StrCat("LOSSD_CONFIG=", of_environment.path());
  auto both = Parse({"--config", of_flag.path()}, {variable});
  auto environment = Parse({}, {variable});
  ASSERT_TRUE(both.ok() && environment.ok());
  EXPECT_EQ(both->settings.threads, 3);
  EXPECT_EQ(environment->settings.threads, 4);
  EXPECT_EQ(environment->settings.config, of_environment.path());
}

TEST(PrecedenceOfFiles, EveryOptionHasASample) {
  std::vector<std::string> sampled = {"config"};
  for (const Sample& sample : Samples()) sampled.push_back(sample.name);
  std::vector<std::string> rows;
  for (const OptionRow& row : OptionTable()) rows.push_back(row.name);
  std::sort(sampled.begin(), sampled.end());
  std::sort(rows.begin(), rows.end());
  EXPECT_EQ(sampled, rows);
}

}  // namespace
}  // namespace lossd
