// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/listen_address.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;

// A listener on a free loopback port.
class Listener {
 public:
  Listener() : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(listen(fd_, 1), 0);
    getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
  }
  ~Listener() { close(fd_); }
  int port() const { return port_; }

 private:
  int fd_;
  int port_ = 0;
};

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(ListenAddressTest, AFreePortCanBeListenedOn) {
  EXPECT_TRUE(CheckCanListen({"127.0.0.1", 0}).ok());
  EXPECT_TRUE(CheckCanListen({"localhost", 0}).ok());
}

TEST(ListenAddressTest, ABusyPortIsNamedWithTheReason) {
  const Listener listener;
  const absl::Status status = CheckCanListen({"127.0.0.1", listener.port()});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("cannot listen on 127.0.0.1:"));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("Address already in use"));
}

TEST(ListenAddressTest, AnAddressOfAnotherMachineIsRefused) {
  EXPECT_FALSE(CheckCanListen({"192.0.2.1", 0}).ok());
  EXPECT_FALSE(CheckCanListen({"no.such.name.invalid", 0}).ok());
}

TEST(ListenAddressTest, ThePortFileHasALineForEachListener) {
  const std::string path = testing::TempDir() + "lossd_port_file";
  ASSERT_TRUE(
      WritePortFile(path, {{"listen", "127.0.0.1:7"}, {"admin", "[::1]:8"}})
          .ok());
  EXPECT_EQ(ReadFile(path), "listen=127.0.0.1:7\nadmin=[::1]:8\n");
  ASSERT_TRUE(WritePortFile(path, {{"listen", "127.0.0.1:9"}}).ok());
  EXPECT_EQ(ReadFile(path), "listen=127.0.0.1:9\n");
  unlink(path.c_str());
}

TEST(ListenAddressTest, APortFileThatCannotBeWrittenIsAnError) {
  const absl::Status status =
      WritePortFile("/no/such/folder/ports", {{"listen", "127.0.0.1:7"}});
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/no/such/folder"));
}

}  // namespace
}  // namespace lossd
