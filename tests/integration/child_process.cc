// SPDX-License-Identifier: Apache-2.0

#include "tests/integration/child_process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

extern char** environ;

namespace lossd {
namespace {

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string NewPath(const std::string& name) {
  static int count = 0;
  return absl::StrCat(testing::TempDir(), "lossd_", getpid(), "_", ++count, "_",
                      name);
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& arguments)
    : output_(NewPath("output")) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  std::vector<char*> environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!absl::StartsWith(*variable, "LOSSD_"))
      environment.push_back(*variable);
  }
  environment.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output_.c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  EXPECT_EQ(posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(),
                        environment.data()),
            0)
      << "cannot start " << argv[0];
  posix_spawn_file_actions_destroy(&actions);
}

ChildProcess::~ChildProcess() {
  if (!ended_ && pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  unlink(output_.c_str());
}

void ChildProcess::Signal(int signal) const {
  if (!ended_ && pid_ > 0) kill(pid_, signal);
}

int ChildProcess::Await(absl::Duration timeout) {
  const absl::Time end = absl::Now() + timeout;
  while (!ended_) {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      ended_ = true;
      status_ =
          WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    } else if (absl::Now() > end) {
      return -1;
    } else {
      absl::SleepFor(absl::Milliseconds(10));
    }
  }
  return status_;
}

std::string ChildProcess::Output() const { return ReadFile(output_); }

int64_t ChildProcess::ResidentBytes() const {
  std::istringstream pages(ReadFile(absl::StrCat("/proc/", pid_, "/statm")));
  int64_t all = 0;
  int64_t resident = 0;
  pages >> all >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

int64_t ChildProcess::PeakResidentBytes() const {
  const std::string status = ReadFile(absl::StrCat("/proc/", pid_, "/status"));
  const std::string name = "VmHWM:";
  const size_t at = status.find(name);
  if (at == std::string::npos) return 0;
  return std::strtoll(status.c_str() + at + name.size(), nullptr, 10) << 10;
}

LossdProcess::LossdProcess(const std::vector<std::string>& flags)
    : port_file_(NewPath("ports")) {
  std::vector<std::string> arguments = {
      LOSSD_BINARY, "--admin-listen", "127.0.0.1:0", "--port-file", port_file_};
  if (std::none_of(flags.begin(), flags.end(), [](const std::string& flag) {
        return absl::StartsWith(flag, "--listen");
      })) {
    arguments.insert(arguments.end(), {"--listen", "127.0.0.1:0"});
  }
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  process_ = std::make_unique<ChildProcess>(arguments);
  // The last line.
  for (int i = 0; i < 3000 && admin_.empty(); ++i) {
    if (process_->Await(absl::Milliseconds(10)) != -1) break;
    for (absl::string_view line : absl::StrSplit(ReadFile(port_file_), '\n')) {
      const std::pair<std::string, std::string> pair =
          absl::StrSplit(line, absl::MaxSplits('=', 1));
      if (pair.first == "listen") listen_ = pair.second;
      if (pair.first == "admin") admin_ = pair.second;
    }
  }
  EXPECT_FALSE(admin_.empty()) << process_->Output();
}

LossdProcess::~LossdProcess() { unlink(port_file_.c_str()); }

}  // namespace lossd
