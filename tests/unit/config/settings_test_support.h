// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_TESTS_UNIT_CONFIG_SETTINGS_TEST_SUPPORT_H_
#define LOSSD_TESTS_UNIT_CONFIG_SETTINGS_TEST_SUPPORT_H_

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/config/settings.h"

namespace lossd {

// ParseSettings with the flags after the program's name, and nothing but
// `environment` in the environment.
inline absl::StatusOr<Invocation> Parse(
    const std::vector<std::string>& flags,
    const std::vector<std::string>& environment = {}) {
  std::vector<const char*> argv = {"lossd"};
  for (const std::string& flag : flags) argv.push_back(flag.c_str());
  std::vector<const char*> envp;
  for (const std::string& entry : environment) envp.push_back(entry.c_str());
  envp.push_back(nullptr);
  return ParseSettings(static_cast<int>(argv.size()), argv.data(), envp.data(),
                       "1.2.3");
}

// The text of the error, empty where there is none.
inline std::string Problem(const std::vector<std::string>& flags,
                           const std::vector<std::string>& environment = {}) {
  return std::string(Parse(flags, environment).status().message());
}

// The setting in force, and "VALUE from SOURCE".
inline std::string InForce(const Invocation& invocation,
                           absl::string_view name) {
  for (const EffectiveSetting& setting : invocation.effective) {
    if (setting.name == name) return setting.value + " from " + setting.source;
  }
  return "nothing";
}

// A file that lives as long as this.
class TemporaryFile {
 public:
  explicit TemporaryFile(absl::string_view content) {
    std::string name = ::testing::TempDir() + "lossd-settings-XXXXXX";
    int file = mkstemp(name.data());
    EXPECT_GE(file, 0);
    EXPECT_EQ(write(file, content.data(), content.size()),
              static_cast<ssize_t>(content.size()));
    close(file);
    path_ = name;
  }
  ~TemporaryFile() { std::remove(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace lossd

#endif  // LOSSD_TESTS_UNIT_CONFIG_SETTINGS_TEST_SUPPORT_H_
