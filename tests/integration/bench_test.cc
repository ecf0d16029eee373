// SPDX-License-Identifier: Apache-2.0
//
// lossctl bench against a lossd of its own process.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "client/cli/lossctl.h"
#include "tests/integration/child_process.h"

namespace lossd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

struct Finished {
  int exit_status;
  std::string output;
  std::string error;
};

class BenchTest : public ::testing::Test {
 protected:
  Finished Bench(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "bench");
    for (const char* argument : {"--warm-up", "0.1", "--duration", "0.4"}) {
      arguments.push_back(argument);
    }
    arguments.push_back("--server");
    arguments.push_back(server_.listen());
    std::istringstream in;
    std::ostringstream out;
    std::ostringstream err;
    const int status = cli::RunLossctl(arguments, in, out, err);
    return {.exit_status = status, .output = out.str(), .error = err.str()};
  }

  nlohmann::json BenchJson(std::vector<std::string> arguments) {
    arguments.push_back("--json");
    const Finished run = Bench(std::move(arguments));
    EXPECT_EQ(run.exit_status, cli::kOk) << run.error << run.output;
    return nlohmann::json::parse(run.output);
  }

  LossdProcess server_;
};

TEST_F(BenchTest, EveryLossTakesTheRequestsMadeUpForItAndAnswersThemAlike) {
  for (const char* dtype : {"float32", "bfloat16"}) {
    for (const char* method : {"gradient", "loss"}) {
      const auto json =
          BenchJson({"all", "--shape", "4x10,32x100", "--dtype", dtype,
                     "--method", method, "--payloads", "2", "--check"});
      // Two of each loss and shape.
      EXPECT_GE(json["payloads"], 2 * 2 * 20);
      EXPECT_GT(json["calls"], 100) << dtype;
      EXPECT_EQ(json["errors"], 0) << json;
    }
  }
}

TEST_F(BenchTest, AnOpenLoopMeetsItsRate) {
  const auto json = BenchJson({"cross_entropy", "--shape", "8", "--classes",
                               "10", "--rate", "500", "--connections", "2"});
  EXPECT_EQ(json["loop"], "open");
  EXPECT_EQ(json["latencies"], 200);
  EXPECT_NEAR(json["calls_per_s"], 500, 25);
  EXPECT_GT(json["latency_us"]["p50"], 0);
  EXPECT_LE(json["latency_us"]["p50"], json["latency_us"]["p99"]);
  EXPECT_LE(json["latency_us"]["p99.9"], json["latency_us"]["max"]);
  // 80 floats, 8 int64 and what is around them.
  EXPECT_GT(json["request_bytes"], 80 * 4 + 8 * 8);
  EXPECT_LT(json["request_bytes"], 80 * 4 + 8 * 8 + 40);
}

TEST_F(BenchTest, PrintsWhatItDidForPeople) {
  const Finished run = Bench({"mse_loss", "--shape", "1000", "--reduction",
                              "sum", "--concurrency", "3"});
  EXPECT_EQ(run.exit_status, cli::kOk) << run.error;
  EXPECT_THAT(run.output,
              AllOf(HasSubstr("closed loop, 3 calls open, 1 connection"),
                    HasSubstr("4 in turn, 8,0"), HasSubstr("mse_loss 1000"),
                    HasSubstr("calls/s"), HasSubstr("errors    0"),
                    HasSubstr("p99.9")));
}

TEST_F(BenchTest, SavedRequestsCanBeSentAgain) {
  const std::filesystem::path folder =
      std::filesystem::path(::testing::TempDir()) / "bench_payloads";
  std::filesystem::create_directories(folder);
  const Finished saved = Bench({"huber_loss", "--shape", "50", "--payloads",
                                "2", "--save-payloads", folder.string()});
  EXPECT_EQ(saved.exit_status, cli::kOk) << saved.error;
  const std::string first = (folder / "0000.bin").string();
  const std::string second = (folder / "0001.bin").string();
  EXPECT_EQ(saved.output, first + "\n" + second + "\n");
  const auto json =
      BenchJson({"--payload", first, "--payload", second, "--check", "--call",
                 "/lossd.v1.LossService/ComputeGradient"});
  EXPECT_EQ(json["payloads"], 2);
  EXPECT_EQ(json["request_bytes"], std::filesystem::file_size(first));
}

TEST_F(BenchTest, WhatTheServerRefusesIsToldAsByGrad) {
  Finished run =
      Bench({"cross_entropy", "--shape", "2x3", "--label-smoothing", "2"});
  EXPECT_EQ(run.exit_status, cli::kCallFailed);
  EXPECT_THAT(run.error, AllOf(HasSubstr("INVALID_ARGUMENT"),
                               HasSubstr("label_smoothing")));
  run = Bench({"cross_entropy", "--call", "/lossd.v1.LossService/Compute"});
  EXPECT_EQ(run.exit_status, cli::kCallFailed);
  EXPECT_THAT(run.error, HasSubstr("UNIMPLEMENTED"));
}

TEST_F(BenchTest, MistakesOfTheCommandLineExitWith2) {
  struct Mistake {
    std::vector<std::string> arguments;
    const char* error;
  };
  for (const Mistake& mistake : std::vector<Mistake>{
           {{"cros_entropy"}, "did you mean cross_entropy?"},
           {{"cross_entropy", "--shape", "2x"}, "--shape: '2x' is not sizes"},
           {{"mse_loss", "--classes", "3"}, "has no dimension of classes"},
           {{"mse_loss", "--concurrency", "0"}, "--concurrency 0 is outside"},
           {{"mse_loss", "--rate", "-5"}, "--rate -5 is outside"},
           {{"mse_loss", "--margin", "1"}, "mse_loss has no --margin"},
           {{"--payload", "missing.bin"}, "cannot read missing.bin"},
           {{"mse_loss", "--save-payloads", "/missing"}, "cannot write"},
           {{}, "name a loss"}}) {
    const Finished run = Bench(mistake.arguments);
    EXPECT_EQ(run.exit_status, cli::kUsage) << mistake.error;
    EXPECT_THAT(run.error, HasSubstr(mistake.error));
  }
}

}  // namespace
}  // namespace lossd
