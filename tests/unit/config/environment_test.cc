// SPDX-License-Identifier: Apache-2.0

#include "server/config/environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace lossd {
namespace {

Given Read(std::vector<const char*> environment) {
  environment.push_back(nullptr);
  return ReadEnvironment(environment.data(), OptionTable());
}

TEST(Environment, OnlyVariablesWithThePrefixMatter) {
  Given given = Read({"HOME=/", "XLOSSD_THREADS=1", "lossd_threads=1", "LOSSD",
                      "LOSSD_THREADS=3"});
  EXPECT_TRUE(given.problems.empty());
  ASSERT_EQ(given.values.size(), 1u);
  EXPECT_EQ(given.values["threads"].text, "3");
  EXPECT_EQ(given.values["threads"].origin, "LOSSD_THREADS");
}

TEST(Environment, AValueMayContainEqualsSigns) {
  EXPECT_EQ(Read({"LOSSD_PORT_FILE=/a=b"}).values["port-file"].text, "/a=b");
}

TEST(Environment, NoEnvironmentIsEmpty) {
  EXPECT_TRUE(ReadEnvironment(nullptr, OptionTable()).values.empty());
}

TEST(Environment, UnknownVariablesAreProblemsWithTheNearestName) {
  EXPECT_THAT(
      Read({"LOSSD_LOG_LEVL=info", "LOSSD_SOMETHING_ELSE_ENTIRELY=1"}).problems,
      ::testing::ElementsAre(
          "LOSSD_LOG_LEVL: there is no such environment variable; did you "
          "mean LOSSD_LOG_LEVEL?",
          "LOSSD_SOMETHING_ELSE_ENTIRELY: there is no such environment "
          "variable"));
}

TEST(Environment, WhatKubernetesSetsForAServiceIsNoProblem) {
  Given given = Read(
      {"LOSSD_SERVICE_HOST=10.0.0.1", "LOSSD_SERVICE_PORT=50051",
       "LOSSD_SERVICE_PORT_GRPC=50051", "LOSSD_PORT=tcp://10.0.0.1:50051",
       "LOSSD_PORT_50051_TCP=tcp://10.0.0.1:50051",
       "LOSSD_PORT_50051_TCP_PROTO=tcp", "LOSSD_PORT_50051_TCP_PORT=50051",
       "LOSSD_PORT_50051_TCP_ADDR=10.0.0.1", "LOSSD_GPU_SERVICE_HOST=10.0.0.2",
       "LOSSD_GPU_PORT_9464_UDP_ADDR=10.0.0.2"});
  EXPECT_TRUE(given.problems.empty());
  EXPECT_TRUE(given.values.empty());
}

TEST(Environment, APortThatIsNoAddressIsAProblem) {
  EXPECT_EQ(Read({"LOSSD_PORT=50051"}).problems.size(), 1u);
  EXPECT_EQ(Read({"LOSSD_PORT_X_TCP=1"}).problems.size(), 1u);
}

}  // namespace
}  // namespace lossd
