// SPDX-License-Identifier: Apache-2.0
//
// Calls over a Unix socket, and what becomes of its file.

#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lossd/client.h"
#include "tests/integration/child_process.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(30);

v1::ComputeGradientRequest Request(int64_t elements) {
  v1::ComputeGradientRequest request;
  auto& loss = *request.mutable_evaluation()->mutable_mse_loss();
  const std::vector<float> ones(static_cast<size_t>(elements), 1);
  *loss.mutable_input() = MakeTensor(ones, {elements});
  *loss.mutable_target() = MakeTensor(ones, {elements});
  return request;
}

// A path that nobody has, and no file either before or after.
class UnixSocketTest : public testing::Test {
 protected:
  UnixSocketTest()
      : path_(absl::StrCat(testing::TempDir(), "lossd_unix_", getpid())) {
    unlink(path_.c_str());
  }
  ~UnixSocketTest() override { unlink(path_.c_str()); }

  std::string Listen() const { return "--listen=unix:" + path_; }
  Client NewClient() const {
    return Client("unix:" + path_, {.retry = {.max_attempts = 1}});
  }
  // The permissions of the socket, or -1 if there is none.
  int Mode() const {
    struct stat found = {};
    if (stat(path_.c_str(), &found) != 0 || !S_ISSOCK(found.st_mode)) return -1;
    return static_cast<int>(found.st_mode & 0777);
  }

  const std::string path_;
};

TEST_F(UnixSocketTest, ItCanBeTheOnlyAddress) {
  LossdProcess lossd({Listen(), "--drain-delay=0"});
  EXPECT_EQ(lossd.listen(), "");
  EXPECT_EQ(Mode(), 0600);
  EXPECT_TRUE(NewClient().ComputeGradient(Request(100)).ok());
  EXPECT_EQ(*NewClient().Check(), Health::kServing);
  lossd.process().Signal(SIGTERM);
  EXPECT_EQ(lossd.process().Await(kPatience), 0);
  EXPECT_EQ(Mode(), -1);
}

TEST_F(UnixSocketTest, ItAnswersAsTheOtherAddressDoes) {
  LossdProcess lossd(
      {"--listen=127.0.0.1:0,unix:" + path_, "--unix-socket-mode=0660"});
  EXPECT_EQ(Mode(), 0660);
  Client tcp(lossd.listen());
  for (int64_t elements : {1, 1000, 1 << 20}) {
    auto one = tcp.ComputeGradient(Request(elements));
    auto other = NewClient().ComputeGradient(Request(elements));
    ASSERT_TRUE(one.ok() && other.ok()) << one.status() << other.status();
    EXPECT_EQ(one->result().SerializeAsString(),
              other->result().SerializeAsString());
  }
}

TEST_F(UnixSocketTest, AProcessThatWasKilledIsSucceeded) {
  {
    LossdProcess killed({Listen()});
    killed.process().Signal(SIGKILL);
    killed.process().Await(kPatience);
  }
  EXPECT_EQ(Mode(), 0600);
  LossdProcess lossd({Listen()});
  EXPECT_TRUE(NewClient().ComputeGradient(Request(1)).ok());
}

TEST_F(UnixSocketTest, ASecondServerAtThePathIsAnError) {
  LossdProcess lossd({Listen()});
  ChildProcess second({LOSSD_BINARY, Listen(), "--admin-listen=none"});
  EXPECT_EQ(second.Await(kPatience), 1);
  EXPECT_THAT(second.Output(), HasSubstr("Address already in use"));
  EXPECT_TRUE(NewClient().ComputeGradient(Request(1)).ok());
}

TEST_F(UnixSocketTest, AFileAtThePathIsAnError) {
  std::ofstream(path_) << "precious";
  ChildProcess lossd({LOSSD_BINARY, Listen(), "--admin-listen=none"});
  EXPECT_EQ(lossd.Await(kPatience), 1);
  EXPECT_THAT(lossd.Output(), HasSubstr("no socket"));
}

TEST_F(UnixSocketTest, SigtermUnderLoadLosesNoAcceptedCall) {
  for (int round = 0; round < 5; ++round) {
    LossdProcess lossd({Listen(), "--drain-delay", "100ms"});
    std::atomic<bool> stop = false;
    absl::Mutex mutex;
    std::map<absl::StatusCode, int> codes;
    std::vector<std::thread> callers;
    for (int i = 0; i < 8; ++i) {
      callers.emplace_back([&, i] {
        // Some with a connection for each call, so that some are always new.
        const Client client = NewClient();
        const auto request = Request(i % 2 == 0 ? 16 : 1 << 18);
        while (!stop.load()) {
          auto answer = (i < 4 ? client : NewClient()).ComputeGradient(request);
          absl::MutexLock lock(&mutex);
          ++codes[answer.status().code()];
          if (!answer.ok()) return;
        }
      });
    }
    absl::SleepFor(absl::Milliseconds(300));
    lossd.process().Signal(SIGTERM);
    EXPECT_EQ(lossd.process().Await(kPatience), 0) << lossd.process().Output();
    stop = true;
    for (std::thread& caller : callers) caller.join();
    EXPECT_GT(codes[absl::StatusCode::kOk], 50);
    codes.erase(absl::StatusCode::kOk);
    codes.erase(absl::StatusCode::kUnavailable);
    EXPECT_TRUE(codes.empty()) << codes.begin()->first;
  }
}

}  // namespace
}  // namespace lossd
