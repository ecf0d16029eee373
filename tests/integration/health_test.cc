// SPDX-License-Identifier: Apache-2.0

#include <string>
#include <thread>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.pb.h"
#include "gtest/gtest.h"
#include "tests/integration/raw_call.h"
#include "tests/integration/test_server.h"

namespace lossd {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;

constexpr char kService[] = "lossd.v1.LossService";
constexpr char kCheck[] = "/grpc.health.v1.Health/Check";
constexpr char kWatch[] = "/grpc.health.v1.Health/Watch";
constexpr char kReflect[] =
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
// The fields of the health service's messages.
constexpr int kServiceField = 1;
constexpr int kStatusField = 1;
constexpr char kServing[] = "1";
constexpr char kNotServing[] = "2";

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

TEST(ReflectionTest, TheServicesAreListed) {
  TestServer server;
  RawStream stream(server.NewChannel(), kReflect);
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
  EXPECT_THAT(names, Contains(kService));
  EXPECT_THAT(names, Contains("grpc.health.v1.Health"));
  stream.Cancel();
}

TEST(ReflectionTest, TheContractIsDescribed) {
  TestServer server;
  RawStream stream(server.NewChannel(), kReflect);
  constexpr int kFileContainingSymbol = 4;
  ASSERT_TRUE(stream.Write(TextField(kFileContainingSymbol, kService)));
  std::string response;
  ASSERT_TRUE(stream.Read(&response));
  constexpr int kFileDescriptorResponse = 4;
  const auto files = FieldsOf(response, kFileDescriptorResponse);
  ASSERT_EQ(files.size(), 1);
  google::protobuf::FileDescriptorProto file;
  ASSERT_TRUE(file.ParseFromString(FieldsOf(files[0], 1).at(0)));
  EXPECT_EQ(file.name(), "lossd/v1/loss_service.proto");
  stream.Cancel();
}

}  // namespace
}  // namespace lossd
