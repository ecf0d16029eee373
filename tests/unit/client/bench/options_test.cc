// SPDX-License-Identifier: Apache-2.0
#include "client/cli/bench/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lossd::cli {
namespace {

using ::testing::HasSubstr;

std::string ErrorOf(const BenchOptions& options,
                    const std::string& loss = "cross_entropy") {
  const auto load = ToLoad(options, loss);
  EXPECT_FALSE(load.ok());
  EXPECT_EQ(load.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(load.status().message());
}

TEST(BenchOptions, DefaultsAreAClosedLoopOf16Calls) {
  const auto load = ToLoad({}, "cross_entropy");
  ASSERT_TRUE(load.ok()) << load.status();
  EXPECT_EQ(load->method, "/lossd.v1.LossService/ComputeGradient");
  EXPECT_EQ(load->concurrency, 16);
  EXPECT_FALSE(load->calls_per_s.has_value());
  EXPECT_EQ(load->duration, absl::Seconds(10));
  EXPECT_EQ(load->warm_up, absl::Seconds(1));
}

TEST(BenchOptions, EveryOneOfThemReachesTheLoad) {
  BenchOptions options;
  options.method = "loss";
  options.rate = 250.5;
  options.max_open = 32;
  options.connections = 3;
  options.threads = 2;
  options.announce = true;
  options.duration = "1500ms";
  options.warm_up = "0";
  auto load = ToLoad(options, "mse_loss");
  ASSERT_TRUE(load.ok()) << load.status();
  EXPECT_EQ(load->method, "/lossd.v1.LossService/ComputeLoss");
  EXPECT_EQ(load->calls_per_s, 250.5);
  EXPECT_EQ(load->max_open, 32);
  EXPECT_EQ(load->connections, 3);
  EXPECT_EQ(load->threads, 2);
  EXPECT_TRUE(load->announce);
  EXPECT_EQ(load->duration, absl::Milliseconds(1500));
  EXPECT_EQ(load->warm_up, absl::ZeroDuration());
  options = {};
  options.concurrency = 7;
  options.call = "/echo.Echo/Echo";
  options.payload_files = {"x.bin"};
  load = ToLoad(options, "");
  ASSERT_TRUE(load.ok()) << load.status();
  EXPECT_EQ(load->concurrency, 7);
  EXPECT_EQ(load->method, "/echo.Echo/Echo");
}

TEST(BenchOptions, ErrorsNameTheFlagTheValueTheRangeAndARemedy) {
  BenchOptions options;
  options.concurrency = 0;
  EXPECT_EQ(ErrorOf(options),
            "--concurrency 0 is outside [1, 100000]: it is how many calls are "
            "open at a time");
  options = {};
  options.threads = 257;
  EXPECT_THAT(ErrorOf(options), HasSubstr("--threads 257 is outside [1, 256]"));
  options = {};
  options.payloads = -1;
  EXPECT_THAT(ErrorOf(options), HasSubstr("--payloads -1 is outside [1, "));
  options = {};
  options.rate = 0;
  EXPECT_THAT(ErrorOf(options), HasSubstr("--rate 0 is outside (0, 1e+07]"));
  options.rate = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(ErrorOf(options), HasSubstr("--rate nan is outside"));
  options = {};
  options.duration = "0";
  EXPECT_THAT(ErrorOf(options), HasSubstr("--duration 0 is outside (0, 24h]"));
  options.duration = "soon";
  EXPECT_THAT(ErrorOf(options), HasSubstr("--duration: 'soon' is neither"));
  options = {};
  options.warm_up = "-1s";
  EXPECT_THAT(ErrorOf(options), HasSubstr("--warm-up -1s is outside [0, 24h]"));
  options = {};
  options.method = "hessian";
  EXPECT_THAT(ErrorOf(options),
              HasSubstr("--method 'hessian' is neither loss nor gradient"));
}

TEST(BenchOptions, ThatContradictOneAnotherAreNamedTogether) {
  BenchOptions options;
  options.rate = 10;
  options.concurrency = 16;
  EXPECT_THAT(ErrorOf(options), HasSubstr("--rate and --concurrency exclude"));
  options = {};
  options.concurrency = 4;
  options.connections = 5;
  EXPECT_THAT(ErrorOf(options),
              HasSubstr("--connections 5 is more than --concurrency 4 can use: "
                        "give at most 4 or more calls"));
  options = {};
  options.rate = 10;
  options.max_open = 1;
  options.threads = 2;
  EXPECT_THAT(ErrorOf(options), HasSubstr("--threads 2 is more than --max-open "
                                          "1 can use"));
  options = {};
  EXPECT_THAT(ErrorOf(options, ""), HasSubstr("name a loss, as in"));
  options.payload_files = {"x.bin"};
  EXPECT_THAT(ErrorOf(options), HasSubstr("a loss and --payload exclude"));
  options.classes = 10;
  EXPECT_THAT(ErrorOf(options, ""), HasSubstr("--payload has them"));
  options = {};
  options.call = "/echo/Echo";
  options.check = true;
  EXPECT_THAT(ErrorOf(options), HasSubstr("--check knows the answers of"));
}

TEST(BenchOptions, AMethodToCallIsAPathOfTwo) {
  for (const char* call : {"echo/Echo", "/echo", "//Echo", "/echo/"}) {
    BenchOptions options;
    options.call = call;
    EXPECT_THAT(ErrorOf(options), HasSubstr("is not /PACKAGE.SERVICE/METHOD"))
        << call;
  }
}

}  // namespace
}  // namespace lossd::cli
