// SPDX-License-Identifier: Apache-2.0

#include "server/telemetry/connection_listener.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "tests/unit/telemetry/loopback_client.h"

namespace lossd {
namespace {

void Echo(Connection& connection) {
  char buffer[64];
  ssize_t got = connection.Read(buffer, sizeof(buffer));
  if (got > 0) connection.Write(buffer, static_cast<size_t>(got));
}

TEST(ConnectionListener, ServesAConnectionAndClosesIt) {
  auto listener =
      ConnectionListener::Start({.host = "127.0.0.1", .serve = Echo});
  ASSERT_TRUE(listener.ok()) << listener.status();
  LoopbackClient client((*listener)->port());
  ASSERT_TRUE(client.Send("hello"));
  EXPECT_EQ(client.ReadAll(), "hello");
}

TEST(ConnectionListener, AnAnswerArrivesAlthoughMoreWasSent) {
  auto listener = ConnectionListener::Start(
      {.host = "127.0.0.1",
       .serve = [](Connection& connection) { connection.Write("bye", 3); }});
  ASSERT_TRUE(listener.ok()) << listener.status();
  LoopbackClient client((*listener)->port());
  ASSERT_TRUE(client.Send(std::string(20000, 'x')));
  EXPECT_EQ(client.ReadAll(), "bye");
}

TEST(ConnectionListener, AReadEndsAtTheDeadline) {
  std::atomic<ssize_t> result{7};
  auto listener =
      ConnectionListener::Start({.host = "127.0.0.1",
                                 .deadline = std::chrono::milliseconds(50),
                                 .serve = [&](Connection& connection) {
                                   char byte = 0;
                                   result = connection.Read(&byte, 1);
                                 }});
  ASSERT_TRUE(listener.ok()) << listener.status();
  LoopbackClient client((*listener)->port());
  EXPECT_EQ(client.ReadAll(), "");
  EXPECT_EQ(result, -1);
}

TEST(ConnectionListener, AWriteToAClientThatDoesNotReadEndsAtTheDeadline) {
  std::atomic<bool> ended{false};
  auto listener = ConnectionListener::Start(
      {.host = "127.0.0.1",
       .deadline = std::chrono::milliseconds(200),
       .serve = [&](Connection& connection) {
         const std::string block(1 << 20, 'x');
         while (connection.Write(block.data(), block.size()) >= 0) {
         }
         ended = true;
       }});
  ASSERT_TRUE(listener.ok()) << listener.status();
  LoopbackClient client((*listener)->port());
  for (int i = 0; i < 2000 && !ended; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(ended);
}

TEST(ConnectionListener, ListensOnIpv6) {
  auto listener = ConnectionListener::Start({.host = "::1", .serve = Echo});
  if (!listener.ok()) GTEST_SKIP() << listener.status();
  EXPECT_GT((*listener)->port(), 0);
}

TEST(ConnectionListener, TwoCannotShareAPort) {
  auto first = ConnectionListener::Start({.host = "127.0.0.1", .serve = Echo});
  ASSERT_TRUE(first.ok()) << first.status();
  auto second = ConnectionListener::Start(
      {.host = "127.0.0.1", .port = (*first)->port(), .serve = Echo});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(FileDescriptor, MovesWithoutClosingTwice) {
  FileDescriptor first(dup(0));
  int fd = first.get();
  FileDescriptor second(std::move(first));
  EXPECT_EQ(second.get(), fd);
  FileDescriptor third;
  third = std::move(second);
  EXPECT_EQ(third.get(), fd);
}

}  // namespace
}  // namespace lossd
