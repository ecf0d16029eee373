// SPDX-License-Identifier: Apache-2.0

#include "server/config/host_port.h"

#include <gtest/gtest.h>

#include <string>

namespace lossd {
namespace {

TEST(HostPort, IsParsedAndPrintedBack) {
  for (const char* text :
       {"127.0.0.1:50051", "localhost:0", "[::1]:65535", "[::]:1",
        "lossd-0.lossd.ns.svc:50051", "[::ffff:127.0.0.1]:80"}) {
    auto parsed = ParseHostPort(text);
    ASSERT_TRUE(parsed.ok()) << text << ": " << parsed.status();
    EXPECT_EQ(parsed->ToString(), text);
  }
}

TEST(HostPort, BracketsAreNoPartOfTheHost) {
  EXPECT_EQ(ParseHostPort("[::1]:50051")->host, "::1");
  EXPECT_EQ(ParseHostPort("[::1]:50051")->port, 50051);
}

TEST(HostPort, MalformedTextsAreErrors) {
  for (const char* text :
       {"", "127.0.0.1", "127.0.0.1:", ":50051", "127.0.0.1:65536",
        "127.0.0.1:-1", "127.0.0.1:+1", "127.0.0.1: 1", "127.0.0.1:x",
        "127.0.0.1:99999999999999999999", "::1:50051", "[::1]", "[::1:50051",
        "[1.2.3.4]:1", "[]:1", "a b:1", "unix:/run/lossd.sock", "a/b:1",
        "http://a:1"}) {
    EXPECT_EQ(ParseHostPort(text).status().code(),
              absl::StatusCode::kInvalidArgument)
        << text;
  }
}

TEST(HostPort, LoopbackIsWhatOnlyThisMachineReaches) {
  for (const char* text :
       {"127.0.0.1:1", "127.255.0.3:1", "localhost:1", "LOCALHOST:1", "[::1]:1",
        "[0:0:0:0:0:0:0:1]:1", "[::ffff:127.0.0.1]:1"}) {
    EXPECT_TRUE(ParseHostPort(text)->IsLoopback()) << text;
  }
  for (const char* text :
       {"0.0.0.0:1", "128.0.0.1:1", "126.0.0.1:1", "[::]:1", "[::2]:1",
        "[::ffff:10.0.0.1]:1", "localhost.example.com:1", "127.0.0.1.nip.io:1",
        "2130706433:1"}) {
    EXPECT_FALSE(ParseHostPort(text)->IsLoopback()) << text;
  }
}

}  // namespace
}  // namespace lossd
