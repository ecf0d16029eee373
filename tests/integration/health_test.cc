// SPDX-License-Identifier: Apache-2.0

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor.pb.h"
#include "google/protobuf/descriptor_database.h"
#include "gtest/gtest.h"
#include "tests/integration/raw_call.h"
#include "tests/integration/test_server.h"

namespace lossd {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

constexpr char kService[] = "lossd.v1.LossService";
constexpr char kCheck[] = "/grpc.health.v1.Health/Check";
constexpr char kWatch[] = "/grpc.health.v1.Health/Watch";
// Both versions of reflection, which tools try one after the other.
constexpr const char* kReflect[] = {
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"};
// The fields of the health service's messages.
constexpr int kServiceField = 1;
constexpr int kStatusField = 1;
constexpr char kServing[] = "1";
constexpr char kNotServing[] = "2";
constexpr char kServiceUnknown[] = "3";

std::string Health(const TestServer& server, const std::string& service) {
  std::string response;
  const grpc::Status status =
      RawCall(server.NewChannel(), kCheck, TextField(kServiceField, service),
              &response);
  if (!status.ok()) return status.error_message();
  const auto found = FieldsOf(response, kStatusField);
  return found.empty() ? "0" : found[0];
}

TEST(HealthTest, TheServerAndTheServiceServe) {
  TestServer server;
  EXPECT_EQ(Health(server, ""), kServing);
  EXPECT_EQ(Health(server, kService), kServing);
}

TEST(HealthTest, AServiceThatIsNotThereIsNotFound) {
  TestServer server;
  std::string response;
  EXPECT_EQ(RawCall(server.NewChannel(), kCheck,
                    TextField(kServiceField, "no.such.Service"), &response)
                .error_code(),
            grpc::StatusCode::NOT_FOUND);
}

TEST(HealthTest, AWatchSeesTheDrainBeginAndDoesNotHoldItUp) {
  TestServer server;
  RawStream watch(server.NewChannel(), kWatch);
  ASSERT_TRUE(watch.Write(TextField(kServiceField, kService)));
  std::string response;
  ASSERT_TRUE(watch.Read(&response));
  EXPECT_THAT(FieldsOf(response, kStatusField), ElementsAre(kServing));
  server.server().StopBeingReady();
  ASSERT_TRUE(watch.Read(&response));
  EXPECT_THAT(FieldsOf(response, kStatusField), ElementsAre(kNotServing));
  // Calls are still answered.
  grpc::ClientContext context;
  v1::ComputeLossResponse answer;
  EXPECT_TRUE(server.NewStub()
                  ->ComputeLoss(&context,
                                FromJson<v1::ComputeLossRequest>(kSmallRequest),
                                &answer)
                  .ok());
  const absl::Time start = absl::Now();
  server.server().Shutdown(absl::Seconds(60));
  EXPECT_LT(absl::Now() - start, absl::Seconds(15));
  while (watch.Read(&response)) {
    EXPECT_THAT(FieldsOf(response, kStatusField), ElementsAre(kNotServing));
  }
  EXPECT_EQ(watch.Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST(HealthTest, AWatchOfAServiceThatIsNotThereStaysUntilTheShutdown) {
  TestServer server;
  RawStream watch(server.NewChannel(), kWatch);
  ASSERT_TRUE(watch.Write(TextField(kServiceField, "no.such.Service")));
  std::string response;
  ASSERT_TRUE(watch.Read(&response));
  EXPECT_THAT(FieldsOf(response, kStatusField), ElementsAre(kServiceUnknown));
  const absl::Time start = absl::Now();
  server.server().Shutdown(absl::Seconds(60));
  EXPECT_LT(absl::Now() - start, absl::Seconds(15));
  EXPECT_FALSE(watch.Read(&response));
  EXPECT_EQ(watch.Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

class ReflectionTest : public ::testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(Versions, ReflectionTest,
                         ::testing::ValuesIn(kReflect), [](const auto& info) {
                           return absl::StrContains(info.param, "v1alpha")
                                      ? "V1Alpha"
                                      : "V1";
                         });

TEST_P(ReflectionTest, TheServicesAreListed) {
  TestServer server;
  RawStream stream(server.NewChannel(), GetParam());
  constexpr int kListServices = 7;
  ASSERT_TRUE(stream.Write(TextField(kListServices, "")));
  std::string response;
  ASSERT_TRUE(stream.Read(&response));
  constexpr int kListServicesResponse = 6;
  const auto lists = FieldsOf(response, kListServicesResponse);
  ASSERT_EQ(lists.size(), 1);
  std::vector<std::string> names;
  for (const std::string& service : FieldsOf(lists[0], 1)) {
    names.push_back(FieldsOf(service, 1).at(0));
  }
  EXPECT_THAT(names,
              UnorderedElementsAre(kService, "grpc.health.v1.Health",
                                   "grpc.reflection.v1.ServerReflection",
                                   "grpc.reflection.v1alpha.ServerReflection"));
}

TEST_P(ReflectionTest, EachServiceIsDescribed) {
  TestServer server;
  constexpr int kFileContainingSymbol = 4;
  constexpr int kFileDescriptorResponse = 4;
  const std::pair<const char*, const char*> cases[] = {
      {kService, "lossd/v1/loss_service.proto"},
      {"grpc.health.v1.Health", "grpc/health/v1/health.proto"},
      {"grpc.reflection.v1.ServerReflection",
       "grpc/reflection/v1/reflection.proto"},
      {"grpc.reflection.v1alpha.ServerReflection",
       "grpc/reflection/v1alpha/reflection.proto"}};
  for (const auto& [service, name] : cases) {
    RawStream stream(server.NewChannel(), GetParam());
    ASSERT_TRUE(stream.Write(TextField(kFileContainingSymbol, service)));
    std::string response;
    ASSERT_TRUE(stream.Read(&response));
    const auto files = FieldsOf(response, kFileDescriptorResponse);
    ASSERT_EQ(files.size(), 1) << service;
    // With what they import, they can be built.
    google::protobuf::SimpleDescriptorDatabase database;
    for (const std::string& bytes : FieldsOf(files[0], 1)) {
      google::protobuf::FileDescriptorProto file;
      ASSERT_TRUE(file.ParseFromString(bytes));
      ASSERT_TRUE(database.Add(file)) << file.name() << " is there twice";
    }
    google::protobuf::DescriptorPool pool(&database);
    const auto* found = pool.FindServiceByName(service);
    ASSERT_NE(found, nullptr) << service;
    EXPECT_EQ(found->file()->name(), name);
  }
}

TEST_P(ReflectionTest, AnOpenStreamDoesNotHoldUpTheShutdown) {
  TestServer server;
  RawStream stream(server.NewChannel(), GetParam());
  constexpr int kFileByFilename = 3;
  ASSERT_TRUE(stream.Write(TextField(kFileByFilename, "no.proto")));
  std::string response;
  ASSERT_TRUE(stream.Read(&response));
  constexpr int kErrorResponse = 7;
  const auto errors = FieldsOf(response, kErrorResponse);
  ASSERT_EQ(errors.size(), 1);
  EXPECT_THAT(FieldsOf(errors[0], 1),
              ElementsAre(std::to_string(grpc::StatusCode::NOT_FOUND)));
  const absl::Time start = absl::Now();
  server.server().Shutdown(absl::Seconds(60));
  EXPECT_LT(absl::Now() - start, absl::Seconds(15));
  EXPECT_FALSE(stream.Read(&response));
}

}  // namespace
}  // namespace lossd
