// SPDX-License-Identifier: Apache-2.0

#include "tests/integration/http_get.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"

namespace lossd {

std::string HttpGet(const std::string& host_port, const std::string& path) {
  const std::pair<std::string, std::string> address =
      absl::StrSplit(host_port, ':');
  sockaddr_in target = {};
  target.sin_family = AF_INET;
  target.sin_port =
      htons(static_cast<uint16_t>(std::atoi(address.second.c_str())));
  inet_pton(AF_INET, address.first.c_str(), &target.sin_addr);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  std::string answer;
  if (connect(fd, reinterpret_cast<sockaddr*>(&target), sizeof(target)) == 0) {
    const std::string request =
        absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: ", host_port,
                     "\r\nConnection: close\r\n\r\n");
    EXPECT_EQ(write(fd, request.data(), request.size()),
              static_cast<ssize_t>(request.size()));
    char buffer[4096];
    for (ssize_t n = 0; (n = read(fd, buffer, sizeof(buffer))) > 0;) {
      answer.append(buffer, static_cast<size_t>(n));
    }
  }
  close(fd);
  return answer;
}

}  // namespace lossd
