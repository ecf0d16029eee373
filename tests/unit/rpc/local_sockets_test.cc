// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/local_sockets.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "gtest/gtest.h"

namespace lossd {
namespace {

// A listener on a loopback port, and a connection to it.
class LocalSocketsTest : public testing::Test {
 protected:
  LocalSocketsTest() {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t length = sizeof(address_);
    EXPECT_EQ(bind(listener_, Address(), length), 0);
    EXPECT_EQ(listen(listener_, 8), 0);
    getsockname(listener_, Address(), &length);
    client_ = socket(AF_INET, SOCK_STREAM, 0);
    EXPECT_EQ(connect(client_, Address(), length), 0);
    accepted_ = accept(listener_, nullptr, nullptr);
  }
  ~LocalSocketsTest() override {
    close(accepted_);
    close(client_);
    close(listener_);
  }
  sockaddr* Address() { return reinterpret_cast<sockaddr*>(&address_); }
  LocalAddress Here() const {
    return {.port = ntohs(address_.sin_port), .unix_path = ""};
  }
  LocalAddress Elsewhere() const {
    return {.port = Here().port == 1 ? 2 : 1, .unix_path = "/elsewhere"};
  }

  sockaddr_in address_ = {};
  int listener_ = -1;
  int client_ = -1;
  int accepted_ = -1;
};

TEST_F(LocalSocketsTest, ConnectionsGoOnWhenListeningEnds) {
  EndListening(Here());
  const int late = socket(AF_INET, SOCK_STREAM, 0);
  EXPECT_NE(connect(late, Address(), sizeof(address_)), 0);
  close(late);
  char byte = 7;
  ASSERT_EQ(write(accepted_, &byte, 1), 1);
  byte = 0;
  EXPECT_EQ(read(client_, &byte, 1), 1);
  EXPECT_EQ(byte, 7);
}

TEST_F(LocalSocketsTest, WhatTheSystemOfThePeerHasIsAcknowledged) {
  EXPECT_EQ(UnacknowledgedBytes(Here()), 0);
  EndListening(Here());
  EXPECT_EQ(UnacknowledgedBytes(Here()), 0);
  // More than the peer's system takes while nobody reads.
  const std::string bytes(1 << 20, 'x');
  int64_t written = 0;
  for (ssize_t n = 0; written < (1 << 26) && n >= 0; written += n) {
    n = send(accepted_, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (n < 0) break;
  }
  EXPECT_GT(UnacknowledgedBytes(Here()), 0);
}

TEST_F(LocalSocketsTest, ThePeerSeesTheEndOfItsConnection) {
  EndConnections(Here());
  char byte = 0;
  EXPECT_EQ(read(client_, &byte, 1), 0);
}

TEST_F(LocalSocketsTest, OtherPortsAreLeftAlone) {
  EndListening(Elsewhere());
  EndConnections(Elsewhere());
  char byte = 7;
  ASSERT_EQ(write(accepted_, &byte, 1), 1);
  EXPECT_EQ(read(client_, &byte, 1), 1);
}

// The same of a Unix socket.
class UnixSocketsTest : public testing::Test {
 protected:
  UnixSocketsTest() : path_(testing::TempDir() + "lossd_local_sockets") {
    unlink(path_.c_str());
    address_.sun_family = AF_UNIX;
    path_.copy(address_.sun_path, sizeof(address_.sun_path) - 1);
    listener_ = socket(AF_UNIX, SOCK_STREAM, 0);
    EXPECT_EQ(bind(listener_, Address(), sizeof(address_)), 0);
    EXPECT_EQ(listen(listener_, 8), 0);
    client_ = socket(AF_UNIX, SOCK_STREAM, 0);
    EXPECT_EQ(connect(client_, Address(), sizeof(address_)), 0);
    accepted_ = accept(listener_, nullptr, nullptr);
  }
  ~UnixSocketsTest() override {
    close(accepted_);
    close(client_);
    close(listener_);
    unlink(path_.c_str());
  }
  sockaddr* Address() { return reinterpret_cast<sockaddr*>(&address_); }
  LocalAddress Here() const { return {.port = 0, .unix_path = path_}; }

  const std::string path_;
  sockaddr_un address_ = {};
  int listener_ = -1;
  int client_ = -1;
  int accepted_ = -1;
};

TEST_F(UnixSocketsTest, ConnectionsGoOnWhenListeningEnds) {
  EndListening(Here());
  const int late = socket(AF_UNIX, SOCK_STREAM, 0);
  EXPECT_NE(connect(late, Address(), sizeof(address_)), 0);
  close(late);
  char byte = 7;
  ASSERT_EQ(write(accepted_, &byte, 1), 1);
  byte = 0;
  EXPECT_EQ(read(client_, &byte, 1), 1);
  EXPECT_EQ(byte, 7);
}

TEST_F(UnixSocketsTest, WhatThePeerHasReadIsAcknowledged) {
  EXPECT_EQ(UnacknowledgedBytes(Here()), 0);
  char byte = 7;
  ASSERT_EQ(write(accepted_, &byte, 1), 1);
  EXPECT_GT(UnacknowledgedBytes(Here()), 0);
  ASSERT_EQ(read(client_, &byte, 1), 1);
  EXPECT_EQ(UnacknowledgedBytes(Here()), 0);
}

TEST_F(UnixSocketsTest, ThePeerReadsWhatWasSentAndThenTheEnd) {
  char byte = 7;
  ASSERT_EQ(write(accepted_, &byte, 1), 1);
  EndConnections(Here());
  EXPECT_EQ(read(client_, &byte, 1), 1);
  EXPECT_EQ(read(client_, &byte, 1), 0);
}

TEST_F(UnixSocketsTest, OtherPathsAreLeftAlone) {
  const LocalAddress elsewhere = {.port = 0, .unix_path = path_ + "2"};
  EndListening(elsewhere);
  EndConnections(elsewhere);
  EndConnections({.port = 0, .unix_path = ""});
  char byte = 7;
  ASSERT_EQ(write(accepted_, &byte, 1), 1);
  EXPECT_EQ(read(client_, &byte, 1), 1);
}

}  // namespace
}  // namespace lossd
