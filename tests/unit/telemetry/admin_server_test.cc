// SPDX-License-Identifier: Apache-2.0

#include "server/telemetry/admin_server.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <sys/resource.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/telemetry/connection_listener.h"
#include "tests/unit/telemetry/loopback_client.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class AdminServerTest : public ::testing::Test {
 protected:
  void SetUp() override { Start(AdminServerOptions{}); }

  void Start(AdminServerOptions options) {
    options.metrics = [this] { return metrics_; };
    options.not_ready = [this] {
      return std::string(draining_ ? "draining" : "");
    };
    options.not_alive = [this] {
      return std::string(lost_ ? "device lost" : "");
    };
    auto started = AdminServer::Start(std::move(options));
    ASSERT_TRUE(started.ok()) << started.status();
    server_ = *std::move(started);
  }

  httplib::Client Client() {
    return httplib::Client("127.0.0.1", server_->port());
  }
  std::string Raw(const std::string& request) {
    LoopbackClient client(server_->port());
    EXPECT_TRUE(client.Send(request));
    return client.ReadAll();
  }

  std::string metrics_ = "lossd_in_flight 0\n";
  std::atomic<bool> draining_{false};
  std::atomic<bool> lost_{false};
  std::unique_ptr<AdminServer> server_;
};

TEST_F(AdminServerTest, TakesAFreePort) { EXPECT_GT(server_->port(), 0); }

TEST_F(AdminServerTest, ServesMetricsAsPrometheusText) {
  auto got = Client().Get("/metrics");
  ASSERT_TRUE(got);
  EXPECT_EQ(got->status, 200);
  EXPECT_EQ(got->body, metrics_);
  EXPECT_EQ(got->get_header_value("Content-Type"),
            "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(got->get_header_value("Connection"), "close");
}

TEST_F(AdminServerTest, ServesLargeAnswersWhole) {
  metrics_.assign(5 << 20, 'm');
  auto got = Client().Get("/metrics");
  ASSERT_TRUE(got);
  EXPECT_EQ(got->body, metrics_);
}

TEST_F(AdminServerTest, IsAliveWhetherReadyOrNot) {
  EXPECT_EQ(Client().Get("/livez")->status, 200);
  draining_ = true;
  EXPECT_EQ(Client().Get("/livez")->status, 200);
}

TEST_F(AdminServerTest, AProcessThatCannotRecoverIsNotAlive) {
  lost_ = true;
  auto got = Client().Get("/livez");
  EXPECT_EQ(got->status, 503);
  EXPECT_EQ(got->body, "device lost\n");
}

TEST_F(AdminServerTest, ReadinessFollowsTheCallback) {
  EXPECT_EQ(Client().Get("/readyz")->status, 200);
  draining_ = true;
  auto got = Client().Get("/readyz?verbose");
  EXPECT_EQ(got->status, 503);
  EXPECT_EQ(got->body, "draining\n");
  draining_ = false;
  EXPECT_EQ(Client().Get("/readyz")->status, 200);
}

TEST_F(AdminServerTest, HeadIsGetWithoutTheBody) {
  auto got = Client().Head("/livez");
  ASSERT_TRUE(got);
  EXPECT_EQ(got->status, 200);
  EXPECT_EQ(got->get_header_value("Content-Length"), "3");
  EXPECT_THAT(Raw("HEAD /livez HTTP/1.1\r\nHost: a\r\n\r\n"),
              ::testing::EndsWith("\r\n\r\n"));
}

TEST_F(AdminServerTest, OtherPathsAreNotFound) {
  for (const char* path :
       {"/", "/livez/", "/metrics/x", "/Livez", "//livez", "/../livez"}) {
    EXPECT_EQ(Client().Get(path)->status, 404) << path;
  }
}

TEST_F(AdminServerTest, OtherMethodsAreRefused) {
  auto post = Client().Post("/metrics", std::string(100000, 'x'), "text/plain");
  ASSERT_TRUE(post);
  EXPECT_EQ(post->status, 405);
  EXPECT_EQ(post->get_header_value("Allow"), "GET, HEAD");
  EXPECT_EQ(Client().Put("/livez", "x", "text/plain")->status, 405);
  EXPECT_EQ(Client().Delete("/livez")->status, 405);
  EXPECT_EQ(Client().Options("/livez")->status, 405);
}

TEST_F(AdminServerTest, RangesAreIgnored) {
  auto got = Client().Get("/livez", {{"Range", "bytes=0-0,0-0,0-1"}});
  ASSERT_TRUE(got);
  EXPECT_EQ(got->status, 200);
  EXPECT_EQ(got->body, "ok\n");
}

TEST_F(AdminServerTest, AContinuationIsNeverAskedFor) {
  EXPECT_THAT(Raw("POST /livez HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                  "Content-Length: 1000000000\r\n\r\n"),
              StartsWith("HTTP/1.1 405"));
}

TEST_F(AdminServerTest, MalformedRequestsAreBad) {
  EXPECT_THAT(Raw("nonsense\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(Raw("GET /livez HTTP/3.0\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(Raw(absl::StrCat("GET /livez HTTP/1.1\r\nRange: bytes=",
                               std::string(40, '9'), "-\r\n\r\n")),
              StartsWith("HTTP/1.1 4"));
  EXPECT_EQ(Client().Get("/livez")->status, 200);
}

TEST_F(AdminServerTest, LongRequestsAreCutOff) {
  std::string fits = absl::StrCat(
      "GET /livez HTTP/1.1\r\nA: ", std::string(8000, 'a'), "\r\n\r\n");
  EXPECT_THAT(Raw(fits), StartsWith("HTTP/1.1 200"));
  std::string endless = "GET /livez HTTP/1.1\r\n";
  for (int i = 0; i < 1000; ++i) absl::StrAppend(&endless, "A: aaaaaaaa\r\n");
  EXPECT_THAT(Raw(endless), StartsWith("HTTP/1.1 400"));
  EXPECT_EQ(Client().Get("/livez")->status, 200);
}

TEST_F(AdminServerTest, SlowClientsCannotKeepTheOthersOut) {
  Start({.threads = 2, .deadline = absl::Milliseconds(300)});
  std::vector<std::unique_ptr<LoopbackClient>> silent;
  for (int i = 0; i < 4; ++i) {
    silent.push_back(std::make_unique<LoopbackClient>(server_->port()));
    ASSERT_TRUE(silent.back()->Send("GET /livez HTTP/1.1\r\n"));
  }
  auto got = Client().Get("/livez");
  ASSERT_TRUE(got);
  EXPECT_EQ(got->status, 200);
}

TEST_F(AdminServerTest, DrippingBytesDoesNotExtendTheDeadline) {
  Start({.threads = 1, .deadline = absl::Milliseconds(300)});
  LoopbackClient dripping(server_->port());
  std::atomic<bool> answered{false};
  std::thread other([&] { answered = Client().Get("/livez") ? true : false; });
  absl::Time give_up = absl::Now() + absl::Seconds(20);
  while (!answered && absl::Now() < give_up) {
    dripping.Send("G");
    absl::SleepFor(absl::Milliseconds(20));
  }
  other.join();
  EXPECT_TRUE(answered);
}

TEST_F(AdminServerTest, HighFileDescriptorsAreServed) {
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  if (limit.rlim_max < 1200) GTEST_SKIP() << "needs 1200 descriptors";
  limit.rlim_cur = std::max<rlim_t>(limit.rlim_cur, 1200);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  std::vector<FileDescriptor> held;
  while (held.empty() || held.back().get() < 1030) {
    held.emplace_back(open("/dev/null", O_RDONLY | O_CLOEXEC));
    ASSERT_GE(held.back().get(), 0);
  }
  EXPECT_THAT(Raw("GET /livez HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 200"));
}

TEST_F(AdminServerTest, AnAddressInUseIsAnError) {
  auto second = AdminServer::Start({.port = server_->port()});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(second.status().message()),
              HasSubstr(absl::StrCat("127.0.0.1 port ", server_->port())));
}

TEST_F(AdminServerTest, AHostThatDoesNotExistIsAnError) {
  auto none = AdminServer::Start({.host = "lossd.invalid"});
  EXPECT_FALSE(none.ok());
  auto foreign = AdminServer::Start({.host = "203.0.113.1"});
  EXPECT_FALSE(foreign.ok());
}

TEST_F(AdminServerTest, StopEndsListeningAndFreesThePort) {
  int port = server_->port();
  server_->Stop();
  EXPECT_FALSE(LoopbackClient(port).connected());
  server_->Stop();
  auto again = AdminServer::Start({.port = port});
  EXPECT_TRUE(again.ok()) << again.status();
}

TEST_F(AdminServerTest, StopDoesNotWaitForSilentClients) {
  Start({.deadline = absl::Seconds(60)});
  LoopbackClient silent(server_->port());
  ASSERT_TRUE(silent.Send("GET "));
  absl::SleepFor(absl::Milliseconds(50));
  absl::Time before = absl::Now();
  server_->Stop();
  EXPECT_LT(absl::Now() - before, absl::Seconds(10));
}

TEST_F(AdminServerTest, AnswersManyClientsAtOnce) {
  std::atomic<int> good{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([&] {
      for (int j = 0; j < 25; ++j) {
        auto got = Client().Get(j % 2 == 0 ? "/metrics" : "/readyz");
        if (got && got->status == 200) ++good;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(good, 200);
}

}  // namespace
}  // namespace lossd
