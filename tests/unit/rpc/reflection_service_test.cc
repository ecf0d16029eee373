// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/reflection_service.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.pb.h"
#include "google/protobuf/text_format.h"
#include "grpc/reflection/v1/reflection.pb.h"
#include "gtest/gtest.h"
#include "tests/integration/raw_call.h"
#include "tests/unit/rpc/queued_server.h"

namespace lossd {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;
using Request = grpc::reflection::v1::ServerReflectionRequest;
using Response = grpc::reflection::v1::ServerReflectionResponse;

// top.proto imports left.proto and right.proto, which both import base.proto.
constexpr const char* kFiles[] = {
    R"(name: "base.proto" package: "demo" syntax: "proto2"
       message_type { name: "Base" extension_range { start: 100 end: 200 }
                      field { name: "a" number: 1 type: TYPE_INT32
                              label: LABEL_OPTIONAL } }
       message_type { name: "Plain" })",
    R"(name: "left.proto" package: "demo" syntax: "proto2"
       dependency: "base.proto"
       extension { name: "second" extendee: ".demo.Base" number: 120
                   type: TYPE_INT32 label: LABEL_OPTIONAL })",
    R"(name: "right.proto" package: "demo" syntax: "proto2"
       dependency: "base.proto"
       extension { name: "first" extendee: ".demo.Base" number: 110
                   type: TYPE_INT32 label: LABEL_OPTIONAL })",
    R"(name: "top.proto" package: "demo" syntax: "proto3"
       dependency: "left.proto" dependency: "right.proto"
       message_type { name: "Question" }
       service { name: "Top" method { name: "Ask" input_type: ".demo.Question"
                                      output_type: ".demo.Question" } })"};

Request FileOf(const std::string& symbol) {
  Request request;
  request.set_file_containing_symbol(symbol);
  return request;
}

Request FileNamed(const std::string& name) {
  Request request;
  request.set_file_by_filename(name);
  return request;
}

Request FileOfExtension(const std::string& type, int number) {
  Request request;
  request.mutable_file_containing_extension()->set_containing_type(type);
  request.mutable_file_containing_extension()->set_extension_number(number);
  return request;
}

Request ExtensionsOf(const std::string& type) {
  Request request;
  request.set_all_extension_numbers_of_type(type);
  return request;
}

std::vector<std::string> NamesOf(const Response& response) {
  std::vector<std::string> names;
  for (const std::string& bytes :
       response.file_descriptor_response().file_descriptor_proto()) {
    google::protobuf::FileDescriptorProto file;
    EXPECT_TRUE(file.ParseFromString(bytes));
    names.push_back(file.name());
  }
  return names;
}

// Of each version, by its name.
class ReflectionServiceTest : public ::testing::TestWithParam<const char*> {
 protected:
  ReflectionServiceTest() {
    for (const char* text : kFiles) {
      google::protobuf::FileDescriptorProto file;
      EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &file));
      EXPECT_NE(pool_.BuildFile(file), nullptr);
    }
  }

  std::unique_ptr<RawStream> NewStream() {
    return std::make_unique<RawStream>(
        server_.NewChannel(),
        std::string("/") + GetParam() + "/ServerReflectionInfo");
  }
  static Response Read(RawStream* stream) {
    std::string bytes;
    Response response;
    EXPECT_TRUE(stream->Read(&bytes));
    EXPECT_TRUE(response.ParseFromString(bytes));
    return response;
  }
  static Response Ask(RawStream* stream, const Request& request) {
    EXPECT_TRUE(stream->Write(request.SerializeAsString()));
    return Read(stream);
  }
  // On a stream of its own.
  Response Ask(const Request& request) {
    return Ask(NewStream().get(), request);
  }

  google::protobuf::DescriptorPool pool_;
  ReflectionService service_{{"demo.Top"}, &pool_};
  QueuedServer server_{&service_};
};

INSTANTIATE_TEST_SUITE_P(
    Versions, ReflectionServiceTest,
    ::testing::Values("grpc.reflection.v1.ServerReflection",
                      "grpc.reflection.v1alpha.ServerReflection"),
    [](const auto& info) {
      return std::string(info.param).find("alpha") == std::string::npos
                 ? "V1"
                 : "V1Alpha";
    });

TEST_P(ReflectionServiceTest, TheServicesAreListedWithItself) {
  Request request;
  request.set_list_services("*");
  std::vector<std::string> names;
  const Response response = Ask(request);
  for (const auto& service : response.list_services_response().service()) {
    names.push_back(service.name());
  }
  EXPECT_THAT(names, UnorderedElementsAre(
                         "demo.Top", "grpc.reflection.v1.ServerReflection",
                         "grpc.reflection.v1alpha.ServerReflection"));
}

TEST_P(ReflectionServiceTest, AFileComesBeforeItsImportsAndEachOnce) {
  EXPECT_THAT(
      NamesOf(Ask(FileNamed("top.proto"))),
      ElementsAre("top.proto", "left.proto", "base.proto", "right.proto"));
}

TEST_P(ReflectionServiceTest, AFileIsWhole) {
  const Response response = Ask(FileNamed("base.proto"));
  ASSERT_EQ(response.file_descriptor_response().file_descriptor_proto_size(),
            1);
  google::protobuf::FileDescriptorProto expected;
  pool_.FindFileByName("base.proto")->CopyTo(&expected);
  EXPECT_EQ(response.file_descriptor_response().file_descriptor_proto(0),
            expected.SerializeAsString());
}

TEST_P(ReflectionServiceTest, AStreamCarriesAnImportOnce) {
  const auto stream = NewStream();
  EXPECT_THAT(NamesOf(Ask(stream.get(), FileNamed("left.proto"))),
              ElementsAre("left.proto", "base.proto"));
  EXPECT_THAT(NamesOf(Ask(stream.get(), FileNamed("top.proto"))),
              ElementsAre("top.proto", "right.proto"));
  // What is asked for comes whenever it is asked for.
  EXPECT_THAT(NamesOf(Ask(stream.get(), FileNamed("top.proto"))),
              ElementsAre("top.proto"));
  EXPECT_THAT(NamesOf(Ask(FileNamed("left.proto"))),
              ElementsAre("left.proto", "base.proto"));
}

TEST_P(ReflectionServiceTest, AnySymbolLeadsToItsFile) {
  const std::pair<const char*, const char*> cases[] = {
      {"demo.Top", "top.proto"},      {"demo.Top.Ask", "top.proto"},
      {"demo.Question", "top.proto"}, {"demo.Base", "base.proto"},
      {"demo.Base.a", "base.proto"},  {"demo.second", "left.proto"}};
  for (const auto& [symbol, file] : cases) {
    const std::vector<std::string> names = NamesOf(Ask(FileOf(symbol)));
    ASSERT_FALSE(names.empty()) << symbol;
    EXPECT_EQ(names[0], file) << symbol;
  }
}

TEST_P(ReflectionServiceTest, AnExtensionLeadsToItsFile) {
  EXPECT_THAT(NamesOf(Ask(FileOfExtension("demo.Base", 110))),
              ElementsAre("right.proto", "base.proto"));
  EXPECT_THAT(NamesOf(Ask(FileOfExtension("demo.Base", 120))),
              ElementsAre("left.proto", "base.proto"));
}

TEST_P(ReflectionServiceTest, TheNumbersOfExtensionsAscend) {
  const Response response = Ask(ExtensionsOf("demo.Base"));
  const auto& numbers = response.all_extension_numbers_response();
  EXPECT_EQ(numbers.base_type_name(), "demo.Base");
  EXPECT_THAT(numbers.extension_number(), ElementsAre(110, 120));
  const Response none = Ask(ExtensionsOf("demo.Plain"));
  EXPECT_TRUE(none.has_all_extension_numbers_response());
  EXPECT_THAT(none.all_extension_numbers_response().extension_number(),
              ElementsAre());
}

TEST_P(ReflectionServiceTest, WhatIsNotThereIsAnErrorAndTheStreamGoesOn) {
  const auto stream = NewStream();
  for (const Request& request :
       {FileNamed("no.proto"), FileOf("demo.No"), FileOf(""),
        FileOfExtension("demo.Base", 111), FileOfExtension("demo.No", 110),
        ExtensionsOf("demo.No"), ExtensionsOf("demo.Top")}) {
    const Response response = Ask(stream.get(), request);
    EXPECT_EQ(response.error_response().error_code(),
              grpc::StatusCode::NOT_FOUND)
        << request.ShortDebugString();
    EXPECT_NE(response.error_response().error_message(), "");
  }
  EXPECT_EQ(Ask(stream.get(), Request()).error_response().error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(NamesOf(Ask(stream.get(), FileNamed("base.proto"))),
              ElementsAre("base.proto"));
}

TEST_P(ReflectionServiceTest, AnAnswerRepeatsItsRequest) {
  Request request = FileOf("demo.Top");
  request.set_host("host.example");
  const Response response = Ask(request);
  EXPECT_EQ(response.valid_host(), "host.example");
  EXPECT_EQ(response.original_request().SerializeAsString(),
            request.SerializeAsString());
}

TEST_P(ReflectionServiceTest, RequestsAreAnsweredInOrderUntilTheCallerIsDone) {
  constexpr int kRequests = 200;
  const auto stream = NewStream();
  for (int i = 0; i < kRequests; ++i) {
    ASSERT_TRUE(stream->Write(
        FileOf(i % 2 == 0 ? "demo.Top" : "demo.Base").SerializeAsString()));
  }
  ASSERT_TRUE(stream->WritesDone());
  for (int i = 0; i < kRequests; ++i) {
    const Response response = Read(stream.get());
    EXPECT_EQ(response.original_request().file_containing_symbol(),
              i % 2 == 0 ? "demo.Top" : "demo.Base");
    ASSERT_FALSE(NamesOf(response).empty());
    EXPECT_EQ(NamesOf(response)[0], i % 2 == 0 ? "top.proto" : "base.proto");
  }
  std::string bytes;
  EXPECT_FALSE(stream->Read(&bytes));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_P(ReflectionServiceTest, ALongRequestAndWhatIsNoneEndTheStream) {
  const std::pair<std::string, grpc::StatusCode> cases[] = {
      {FileOf(std::string(kMaxSmallRequestBytes, 'x')).SerializeAsString(),
       grpc::StatusCode::RESOURCE_EXHAUSTED},
      {"\xff", grpc::StatusCode::INVALID_ARGUMENT}};
  for (const auto& [bytes, code] : cases) {
    const auto stream = NewStream();
    EXPECT_TRUE(stream->Write(bytes));
    EXPECT_EQ(stream->Finish().error_code(), code);
  }
}

TEST_P(ReflectionServiceTest, AStreamThatIsCancelledEnds) {
  const auto stream = NewStream();
  Ask(stream.get(), FileNamed("top.proto"));
  stream->Cancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  const absl::Time start = absl::Now();
  server_.Shutdown(absl::Seconds(60));
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
}

TEST_P(ReflectionServiceTest, AShutdownThatDoesNotWaitCancelsAStream) {
  const auto stream = NewStream();
  Ask(stream.get(), FileNamed("top.proto"));
  const absl::Time start = absl::Now();
  server_.Shutdown(absl::ZeroDuration());
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
  std::string bytes;
  EXPECT_FALSE(stream->Read(&bytes));
}

}  // namespace
}  // namespace lossd
