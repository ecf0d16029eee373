// SPDX-License-Identifier: Apache-2.0
//
// What only a process can show: signals, exit codes, memory, listening.

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "grpcpp/client_context.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"
#include "lossd/v1/loss_service.grpc.pb.h"
#include "tests/integration/child_process.h"
#include "tests/integration/http_get.h"

namespace lossd {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Matches;
using ::testing::StartsWith;

constexpr absl::Duration kPatience = absl::Seconds(30);

std::unique_ptr<v1::LossService::Stub> NewStub(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  return v1::LossService::NewStub(grpc::CreateCustomChannel(
      address, grpc::InsecureChannelCredentials(), arguments));
}

v1::ComputeLossRequest Request(int64_t elements) {
  v1::ComputeLossRequest request;
  auto* loss = request.mutable_evaluation()->mutable_mse_loss();
  for (v1::Tensor* tensor : {loss->mutable_input(), loss->mutable_target()}) {
    tensor->set_dtype(v1::DTYPE_FLOAT32);
    tensor->add_shape(elements);
    tensor->set_data(std::string(static_cast<size_t>(elements) * 4, '\0'));
  }
  return request;
}

grpc::Status Call(v1::LossService::Stub* stub,
                  const v1::ComputeLossRequest& request) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::seconds(20));
  v1::ComputeLossResponse response;
  return stub->ComputeLoss(&context, request, &response);
}

TEST(ProcessTest, SigtermUnderLoadLosesNoAcceptedCall) {
  LossdProcess lossd({"--drain-delay", "300ms"});
  std::atomic<bool> stop = false;
  absl::Mutex mutex;
  std::map<grpc::StatusCode, int> codes;
  std::string last_message;
  std::vector<std::thread> callers;
  for (int i = 0; i < 8; ++i) {
    callers.emplace_back([&, i] {
      const auto stub = NewStub(lossd.listen());
      const auto request = Request(i % 2 == 0 ? 16 : 1 << 18);
      while (!stop.load()) {
        const grpc::Status status = Call(stub.get(), request);
        absl::MutexLock lock(&mutex);
        ++codes[status.error_code()];
        if (status.ok()) continue;
        last_message = status.error_message();
        return;
      }
    });
  }
  absl::SleepFor(absl::Seconds(1));
  int before = 0;
  {
    absl::MutexLock lock(&mutex);
    before = codes[grpc::StatusCode::OK];
  }
  lossd.process().Signal(SIGTERM);
  EXPECT_EQ(lossd.process().Await(kPatience), 0) << lossd.process().Output();
  stop.store(true);
  for (std::thread& caller : callers) caller.join();
  EXPECT_GT(before, 0);
  // Calls went on during the delay, and those that came after the GOAWAY were
  // told that another replica can answer.
  EXPECT_GT(codes[grpc::StatusCode::OK], before);
  for (const auto& [code, count] : codes) {
    EXPECT_TRUE(code == grpc::StatusCode::OK ||
                code == grpc::StatusCode::UNAVAILABLE)
        << count << " calls ended with " << code << ", such as "
        << last_message;
  }
}

TEST(ProcessTest, ReadinessFollowsTheDrain) {
  LossdProcess lossd({"--drain-delay", "20s"});
  EXPECT_THAT(HttpGet(lossd.admin(), "/livez"), HasSubstr(" 200 "));
  EXPECT_THAT(HttpGet(lossd.admin(), "/readyz"), HasSubstr(" 200 "));
  EXPECT_THAT(HttpGet(lossd.admin(), "/metrics"),
              HasSubstr("lossd_build_info{"));
  lossd.process().Signal(SIGTERM);
  for (int i = 0; i < 500; ++i) {
    if (absl::StrContains(HttpGet(lossd.admin(), "/readyz"), " 503 ")) break;
    absl::SleepFor(absl::Milliseconds(10));
  }
  EXPECT_THAT(HttpGet(lossd.admin(), "/readyz"), HasSubstr(" 503 "));
  EXPECT_THAT(HttpGet(lossd.admin(), "/livez"), HasSubstr(" 200 "));
  const auto stub = NewStub(lossd.listen());
  EXPECT_TRUE(Call(stub.get(), Request(4)).ok());
  // A second signal ends the delay.
  const absl::Time start = absl::Now();
  lossd.process().Signal(SIGTERM);
  EXPECT_EQ(lossd.process().Await(kPatience), 0);
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
}

TEST(ProcessTest, SigintEndsItToo) {
  LossdProcess lossd({"--drain-delay", "0s"});
  lossd.process().Signal(SIGINT);
  EXPECT_EQ(lossd.process().Await(kPatience), 0);
  EXPECT_THAT(lossd.process().Output(), HasSubstr("serving"));
  EXPECT_THAT(lossd.process().Output(), HasSubstr("stopped"));
}

TEST(ProcessTest, SighupChangesNothing) {
  LossdProcess lossd({"--drain-delay", "0s"});
  lossd.process().Signal(SIGHUP);
  const auto stub = NewStub(lossd.listen());
  EXPECT_TRUE(Call(stub.get(), Request(4)).ok());
  EXPECT_EQ(lossd.process().Await(absl::Milliseconds(200)), -1);
  lossd.process().Signal(SIGTERM);
  EXPECT_EQ(lossd.process().Await(kPatience), 0);
  EXPECT_THAT(lossd.process().Output(), HasSubstr("hangup_ignored"));
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

TEST(ProcessTest, AnIdleServerTakesLessThan64MiB) {
  if (kSanitized) GTEST_SKIP() << "sanitizers need memory of their own";
  LossdProcess lossd;
  const auto stub = NewStub(lossd.listen());
  EXPECT_TRUE(Call(stub.get(), Request(4)).ok());
  absl::SleepFor(absl::Milliseconds(500));
  const int64_t bytes = lossd.process().ResidentBytes();
  RecordProperty("resident_kib", static_cast<int>(bytes >> 10));
  EXPECT_GT(bytes, 0);
  EXPECT_LT(bytes, int64_t{64} << 20);
}

TEST(ProcessTest, MemoryOfALoadIsGivenBack) {
  if (kSanitized) GTEST_SKIP() << "sanitizers need memory of their own";
  LossdProcess lossd;
  const auto stub = NewStub(lossd.listen());
  EXPECT_TRUE(Call(stub.get(), Request(4)).ok());
  const int64_t idle = lossd.process().ResidentBytes();
  std::vector<std::thread> callers;
  for (int i = 0; i < 8; ++i) {
    callers.emplace_back([&lossd] {
      const auto own = NewStub(lossd.listen());
      for (int k = 0; k < 3; ++k) {
        EXPECT_TRUE(Call(own.get(), Request(1 << 21)).ok());
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  const int64_t loaded = lossd.process().ResidentBytes();
  int64_t after = loaded;
  // Small objects that outlive the load keep about a tenth.
  const int64_t bound = idle + idle / 5;
  for (int i = 0; i < 60 && after > bound; ++i) {
    absl::SleepFor(absl::Milliseconds(500));
    after = lossd.process().ResidentBytes();
  }
  RecordProperty("idle_kib", static_cast<int>(idle >> 10));
  RecordProperty("loaded_kib", static_cast<int>(loaded >> 10));
  RecordProperty("after_kib", static_cast<int>(after >> 10));
  EXPECT_LE(after, bound) << "it was " << idle << " before the load and "
                          << loaded << " after it";
}

TEST(ProcessTest, ABusyPortIsAnErrorThatNamesIt) {
  LossdProcess first;
  ChildProcess second(
      {LOSSD_BINARY, "--listen", first.listen(), "--admin-listen", "none"});
  EXPECT_EQ(second.Await(kPatience), 1);
  EXPECT_THAT(second.Output(),
              HasSubstr(absl::StrCat("cannot listen on ", first.listen(),
                                     ": Address already in use")));
}

TEST(ProcessTest, ABadFlagEndsWithTwoAndSaysWhy) {
  ChildProcess bad({LOSSD_BINARY, "--max-elements", "none"});
  EXPECT_EQ(bad.Await(kPatience), 2);
  EXPECT_THAT(bad.Output(), StartsWith("lossd: "));
  EXPECT_THAT(bad.Output(), HasSubstr("max-elements"));
}

TEST(ProcessTest, AnAddressThatOthersCanReachNeedsInsecure) {
  ChildProcess open({LOSSD_BINARY, "--listen", "0.0.0.0:0"});
  EXPECT_EQ(open.Await(kPatience), 2);
  EXPECT_THAT(open.Output(), HasSubstr("insecure"));
}

TEST(ProcessTest, AnUnknownTargetIsAnError) {
  ChildProcess bad({LOSSD_BINARY, "--listen", "127.0.0.1:0", "--admin-listen",
                    "none", "--target", "ABACUS"});
  EXPECT_EQ(bad.Await(kPatience), 1);
  EXPECT_THAT(bad.Output(), HasSubstr("ABACUS"));
}

TEST(ProcessTest, VersionAndHelpAreAnswered) {
  ChildProcess version({LOSSD_BINARY, "--version"});
  EXPECT_EQ(version.Await(kPatience), 0);
  EXPECT_NE(version.Output(), "");
  ChildProcess help({LOSSD_BINARY, "--help"});
  EXPECT_EQ(help.Await(kPatience), 0);
  EXPECT_THAT(help.Output(), HasSubstr("--listen"));
}

TEST(ProcessTest, GrpcurlComputesALossByHand) {
  if (access(LOSSD_GRPCURL, X_OK) != 0) {
    GTEST_SKIP() << LOSSD_GRPCURL << " is not there; compute_test.cc sends the "
                 << "same JSON through the descriptors";
  }
  LossdProcess lossd;
  ChildProcess grpcurl(
      {LOSSD_GRPCURL, "-plaintext", "-d",
       R"({"evaluation": {"cross_entropy": {"input": {"values": [[-0.278, 0.2306], [-0.3471, 0.2968], [-0.3351, 0.3481]]}, "target": {"values": [1, 0, 1]}}}})",
       lossd.listen(), "lossd.v1.LossService/ComputeLoss"});
  EXPECT_EQ(grpcurl.Await(kPatience), 0) << grpcurl.Output();
  EXPECT_THAT(grpcurl.Output(), HasSubstr("\"loss\": 0.64856"));
  EXPECT_THAT(grpcurl.Output(), HasSubstr("\"values\": 0.64856"));
}

TEST(ProcessTest, GrpcurlKnowsEveryService) {
  if (access(LOSSD_GRPCURL, X_OK) != 0) {
    GTEST_SKIP() << LOSSD_GRPCURL << " is not there; health_test.cc asks the "
                 << "same of the services themselves";
  }
  LossdProcess lossd;
  const auto grpcurl = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {LOSSD_GRPCURL, "-plaintext"});
    ChildProcess process(arguments);
    EXPECT_EQ(process.Await(kPatience), 0) << process.Output();
    return process.Output();
  };
  const std::string& server = lossd.listen();
  EXPECT_EQ(grpcurl({server, "list"}),
            "grpc.health.v1.Health\n"
            "grpc.reflection.v1.ServerReflection\n"
            "grpc.reflection.v1alpha.ServerReflection\n"
            "lossd.v1.LossService\n");
  EXPECT_THAT(grpcurl({server, "describe"}),
              HasSubstr("rpc ComputeGradient ("));
  EXPECT_THAT(grpcurl({"-d", R"({"service": "lossd.v1.LossService"})", server,
                       "grpc.health.v1.Health/Check"}),
              HasSubstr("\"status\": \"SERVING\""));
}

// The names of a process's threads.
std::set<std::string> ThreadNames(const std::string& pid) {
  std::set<std::string> names;
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/" + pid + "/task")) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm"), name);
    names.insert(name);
  }
  return names;
}

// With any other thread that polls, gRPC hands its poller from one to the other
// at each call, which costs small calls a third of their throughput.
TEST(ProcessTest, OnlyTheCompletionQueuesPoll) {
  LossdProcess lossd;
  const auto stub = NewStub(lossd.listen());
  EXPECT_TRUE(Call(stub.get(), Request(4)).ok());
  // gRPC's threads that poll, as a server with its synchronous and its callback
  // API has them, by their names.
  const std::set<std::string> before = ThreadNames("self");
  grpc::EnableDefaultHealthCheckService(true);
  v1::LossService::Service synchronous;
  grpc::ServerBuilder builder;
  builder.RegisterService(&synchronous);
  const std::unique_ptr<grpc::Server> other = builder.BuildAndStart();
  std::set<std::string> polling;
  const auto all_are_there = [&] {
    // A thread names itself.
    for (const std::string& name : ThreadNames("self")) {
      if (before.count(name) == 0) polling.insert(name);
    }
    return Matches(AllOf(Contains(StartsWith("grpcpp_sync")),
                         Contains(StartsWith("nexting"))))(polling);
  };
  const absl::Time start = absl::Now();
  while (!all_are_there() && absl::Now() - start < kPatience) {
    absl::SleepFor(absl::Milliseconds(5));
  }
  EXPECT_LT(absl::Now() - start, kPatience);
  other->Shutdown();
  grpc::EnableDefaultHealthCheckService(false);
  for (const std::string& name : ThreadNames(lossd.process().Id())) {
    EXPECT_EQ(polling.count(name), 0) << name;
  }
}

}  // namespace
}  // namespace lossd
