// SPDX-License-Identifier: Apache-2.0

#include "tests/integration/server_process.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

#include "gtest/gtest.h"

namespace lossd {

ServerProcess::ServerProcess(std::vector<std::string> flags) {
  char folder[] = "/tmp/lossd-test-XXXXXX";
  EXPECT_NE(mkdtemp(folder), nullptr);
  const std::string port_file = std::string(folder) + "/ports";
  std::vector<std::string> command = {LOSSD_BINARY, "--listen=127.0.0.1:0",
                                      "--admin-listen=127.0.0.1:0",
                                      "--port-file=" + port_file,
                                      "--drain-delay=0s"};
  command.insert(command.end(), flags.begin(), flags.end());
  std::vector<char*> arguments;
  for (std::string& word : command) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_ = fork();
  if (pid_ == 0) {
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  WaitForPorts(port_file);
  unlink(port_file.c_str());
  rmdir(folder);
}

ServerProcess::~ServerProcess() {
  if (pid_ < 0) return;
  Terminate();
  Wait();
}

void ServerProcess::WaitForPorts(const std::string& port_file) {
  for (int i = 0; i < 600; ++i) {
    std::ifstream file(port_file);
    std::map<std::string, std::string> ports;
    for (std::string line; std::getline(file, line);) {
      const size_t equals = line.find('=');
      if (equals != std::string::npos) {
        ports[line.substr(0, equals)] = line.substr(equals + 1);
      }
    }
    listen_ = ports["listen"];
    admin_ = ports["admin"];
    if (!listen_.empty() && !admin_.empty()) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  ADD_FAILURE() << LOSSD_BINARY << " does not serve after 30 s";
}

std::string ServerProcess::Metrics() const {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int port = std::atoi(admin_.substr(admin_.rfind(':') + 1).c_str());
  to.sin_port = htons(static_cast<uint16_t>(port));
  std::string answer;
  if (connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 0) {
    const std::string request =
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    EXPECT_EQ(write(fd, request.data(), request.size()),
              static_cast<ssize_t>(request.size()));
    char buffer[4096];
    for (ssize_t n; (n = read(fd, buffer, sizeof(buffer))) > 0;) {
      answer.append(buffer, static_cast<size_t>(n));
    }
  }
  close(fd);
  return answer;
}

void ServerProcess::Terminate() const { kill(pid_, SIGTERM); }

int ServerProcess::Wait() {
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

double MetricValue(const std::string& metrics, const std::string& name) {
  std::istringstream lines(metrics);
  double sum = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(name, 0) != 0) continue;
    const char next = line[name.size()];
    if (next != ' ' && next != '{') continue;
    sum += std::strtod(line.c_str() + line.rfind(' '), nullptr);
  }
  return sum;
}

}  // namespace lossd
