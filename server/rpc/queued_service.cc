// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/queued_service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "grpcpp/impl/rpc_service_method.h"

namespace lossd {

void QueuedService::AddQueuedMethod(const std::string& path, MakeCall make) {
  using grpc::internal::RpcServiceMethod;
  paths_.push_back(std::make_unique<const std::string>(path));
  // gRPC tells of a unary method's call when the whole request has arrived, and
  // of a stream when the headers have. They look the same on the wire.
  auto* registered =
      new RpcServiceMethod(paths_.back()->c_str(),
                           grpc::internal::RpcMethod::BIDI_STREAMING, nullptr);
  registered->SetServerApiType(RpcServiceMethod::ApiType::RAW);
  AddMethod(registered);  // takes ownership
  methods_.push_back({registered, std::move(make)});
}

grpc::Status ParseSmallRequest(const MessageBytes& bytes,
                               google::protobuf::Message* request) {
  if (bytes.size() > kMaxSmallRequestBytes) {
    return {grpc::StatusCode::RESOURCE_EXHAUSTED,
            absl::StrCat("the request has ", bytes.size(),
                         " bytes; this service reads at most ",
                         kMaxSmallRequestBytes, ".")};
  }
  if (!bytes.present() || !ParseMessage(bytes, request)) {
    return {grpc::StatusCode::INVALID_ARGUMENT,
            absl::StrCat("the request is not a ", request->GetTypeName(),
                         ": its bytes cannot be parsed.")};
  }
  return grpc::Status::OK;
}

}  // namespace lossd
