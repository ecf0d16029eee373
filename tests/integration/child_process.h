// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_TESTS_INTEGRATION_CHILD_PROCESS_H_
#define LOSSD_TESTS_INTEGRATION_CHILD_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace lossd {

// A process whose standard output and error go to one file. It is killed at the
// end, if it still runs then.
class ChildProcess {
 public:
  // The first argument is the program. Variables of the environment that begin
  // with LOSSD_ are not passed on.
  explicit ChildProcess(const std::vector<std::string>& arguments);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  void Signal(int signal) const;
  // Its exit status; 128 and the signal if one ended it; -1 if it still runs
  // after `timeout`.
  int Await(absl::Duration timeout);
  // What it has written so far.
  std::string Output() const;
  // Its process id, in decimal.
  std::string Id() const { return std::to_string(pid_); }
  // Its resident memory.
  int64_t ResidentBytes() const;
  // The most that it was.
  int64_t PeakResidentBytes() const;

 private:
  std::string output_;
  pid_t pid_ = -1;
  bool ended_ = false;
  int status_ = -1;
};

// A lossd of its own process, which serves when the constructor returns.
class LossdProcess {
 public:
  explicit LossdProcess(const std::vector<std::string>& flags = {});
  ~LossdProcess();

  ChildProcess& process() { return *process_; }
  // HOST:PORT of gRPC, unless `flags` say otherwise, and of plain HTTP.
  const std::string& listen() const { return listen_; }
  const std::string& admin() const { return admin_; }

 private:
  std::string port_file_;
  std::unique_ptr<ChildProcess> process_;
  std::string listen_;
  std::string admin_;
};

}  // namespace lossd

#endif  // LOSSD_TESTS_INTEGRATION_CHILD_PROCESS_H_
