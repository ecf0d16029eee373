// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_TESTS_INTEGRATION_SERVER_PROCESS_H_
#define LOSSD_TESTS_INTEGRATION_SERVER_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <vector>

namespace lossd {

// A lossd of the test's own: a process on free ports of the loopback interface,
// ended by SIGTERM with the object.
class ServerProcess {
 public:
  // Starts the binary with these flags besides and waits until it serves.
  explicit ServerProcess(std::vector<std::string> flags);
  ~ServerProcess();

  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  const std::string& address() const { return listen_; }
  pid_t pid() const { return pid_; }

  // What the admin port answers to a GET of /metrics.
  std::string Metrics() const;

  // Sends SIGTERM without waiting.
  void Terminate() const;
  // Waits for the end; the exit status, or -1 if a signal ended it.
  int Wait();

 private:
  void WaitForPorts(const std::string& port_file);

  pid_t pid_ = -1;
  std::string listen_;
  std::string admin_;
};

// The value of a metric line such as "lossd_batch_requests_sum", over all of its
// labels.
double MetricValue(const std::string& metrics, const std::string& name);

}  // namespace lossd

#endif  // LOSSD_TESTS_INTEGRATION_SERVER_PROCESS_H_
