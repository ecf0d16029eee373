// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/reflection_service.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.pb.h"
#include "grpc/reflection/v1/reflection.pb.h"
#include "grpc/reflection/v1alpha/reflection.pb.h"
#include "server/rpc/message_bytes.h"

namespace lossd {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::ServiceDescriptor;
// The messages of v1alpha have the same encoding.
using Request = grpc::reflection::v1::ServerReflectionRequest;
using Response = grpc::reflection::v1::ServerReflectionResponse;

// Files that a stream has carried, with all that they import.
using SentFiles = std::set<const FileDescriptor*>;

void Add(const FileDescriptor& file, SentFiles* sent,
         grpc::reflection::v1::FileDescriptorResponse* answer) {
  sent->insert(&file);
  google::protobuf::FileDescriptorProto proto;
  file.CopyTo(&proto);
  answer->add_file_descriptor_proto(proto.SerializeAsString());
  for (int i = 0; i < file.dependency_count(); ++i) {
    const FileDescriptor& import = *file.dependency(i);
    if (sent->count(&import) == 0) Add(import, sent, answer);
  }
}

void Fail(grpc::StatusCode code, absl::string_view message,
          Response* response) {
  auto* error = response->mutable_error_response();
  error->set_error_code(code);
  error->set_error_message(std::string(message));
}

void AnswerFile(const FileDescriptor* file, SentFiles* sent,
                Response* response) {
  if (file == nullptr) {
    Fail(grpc::StatusCode::NOT_FOUND, "this server has no such file or symbol.",
         response);
    return;
  }
  Add(*file, sent, response->mutable_file_descriptor_response());
}

const FileDescriptor* FileOfExtension(
    const DescriptorPool& pool,
    const grpc::reflection::v1::ExtensionRequest& request) {
  const Descriptor* extended =
      pool.FindMessageTypeByName(request.containing_type());
  if (extended == nullptr) return nullptr;
  const FieldDescriptor* extension =
      pool.FindExtensionByNumber(extended, request.extension_number());
  return extension == nullptr ? nullptr : extension->file();
}

void AnswerExtensions(const DescriptorPool& pool, const std::string& type,
                      Response* response) {
  const Descriptor* extended = pool.FindMessageTypeByName(type);
  if (extended == nullptr) {
    Fail(grpc::StatusCode::NOT_FOUND, "this server has no such message.",
         response);
    return;
  }
  std::vector<const FieldDescriptor*> extensions;
  pool.FindAllExtensions(extended, &extensions);
  std::vector<int> numbers;
  for (const FieldDescriptor* each : extensions) {
    numbers.push_back(each->number());
  }
  std::sort(numbers.begin(), numbers.end());
  auto* answer = response->mutable_all_extension_numbers_response();
  answer->set_base_type_name(extended->full_name());
  answer->mutable_extension_number()->Assign(numbers.begin(), numbers.end());
}

void AnswerServices(const std::vector<std::string>& services,
                    Response* response) {
  auto* answer = response->mutable_list_services_response();
  for (const std::string& service : services) {
    answer->add_service()->set_name(service);
  }
}

}  // namespace

// Reads, answers and sends by turns.
class ReflectionService::Stream final : public CoreCall {
 public:
  Stream(const ReflectionService* service, const ArrivedCall& arrived)
      : CoreCall(arrived), service_(*service) {}

 private:
  void OnStart() override { Read(); }

  void OnRead(MessageBytes message) override {
    if (!message.present()) {
      Finish(grpc::Status::OK);
      return;
    }
    Request request;
    const grpc::Status parsed = ParseSmallRequest(message, &request);
    if (!parsed.ok()) {
      Finish(parsed);
      return;
    }
    Write(SerializeMessage(Answer(request)));
  }

  void OnWritten(bool ok) override {
    if (ok) {
      Read();
    } else {
      Finish(grpc::Status::CANCELLED);
    }
  }

  Response Answer(const Request& request) {
    const DescriptorPool& pool = service_.pool_;
    Response response;
    response.set_valid_host(request.host());
    *response.mutable_original_request() = request;
    switch (request.message_request_case()) {
      case Request::kFileByFilename:
        AnswerFile(pool.FindFileByName(request.file_by_filename()), &sent_,
                   &response);
        break;
      case Request::kFileContainingSymbol:
        AnswerFile(
            pool.FindFileContainingSymbol(request.file_containing_symbol()),
            &sent_, &response);
        break;
      case Request::kFileContainingExtension:
        AnswerFile(FileOfExtension(pool, request.file_containing_extension()),
                   &sent_, &response);
        break;
      case Request::kAllExtensionNumbersOfType:
        AnswerExtensions(pool, request.all_extension_numbers_of_type(),
                         &response);
        break;
      case Request::kListServices:
        AnswerServices(service_.services_, &response);
        break;
      case Request::MESSAGE_REQUEST_NOT_SET:
        Fail(grpc::StatusCode::INVALID_ARGUMENT, "the request asks nothing.",
             &response);
        break;
    }
    return response;
  }

  const ReflectionService& service_;
  SentFiles sent_;
};

ReflectionService::ReflectionService(std::vector<std::string> services,
                                     const DescriptorPool* pool)
    : services_(std::move(services)), pool_(*pool) {
  const FileDescriptor* const files[] = {
      Request::descriptor()->file(),
      grpc::reflection::v1alpha::ServerReflectionRequest::descriptor()->file()};
  for (const FileDescriptor* file : files) {
    const ServiceDescriptor& service = *file->service(0);
    services_.push_back(service.full_name());
    AddQueuedMethod(
        absl::StrCat("/", service.full_name(), "/", service.method(0)->name()),
        [this](const ArrivedCall& arrived) {
          return std::make_shared<Stream>(this, arrived);
        });
  }
}

ReflectionService::~ReflectionService() = default;

}  // namespace lossd
