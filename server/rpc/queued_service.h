// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_QUEUED_SERVICE_H_
#define LOSSD_SERVER_RPC_QUEUED_SERVICE_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "google/protobuf/message.h"
#include "grpcpp/impl/service_type.h"
#include "grpcpp/support/status.h"
#include "server/rpc/call_queues.h"
#include "server/rpc/core_call.h"
#include "server/rpc/message_bytes.h"

namespace lossd {

// A service whose methods are served from completion queues.
class QueuedService : public grpc::Service {
 public:
  // The methods, once the service is registered with a server. They refer to
  // this service.
  std::vector<QueuedMethod> QueuedMethods() const { return methods_; }

 protected:
  using MakeCall = std::function<std::shared_ptr<CoreCall>(const ArrivedCall&)>;

  // `path` is "/package.Service/Method". `make` makes each of its calls, and is
  // thread-safe.
  void AddQueuedMethod(const std::string& path, MakeCall make);

 private:
  // gRPC borrows the paths.
  std::vector<std::unique_ptr<const std::string>> paths_;
  std::vector<QueuedMethod> methods_;
};

// The longest request of the services that tell about the server.
inline constexpr int64_t kMaxSmallRequestBytes = 64 << 10;

// Parses the request of such a service. RESOURCE_EXHAUSTED if it is too long;
// INVALID_ARGUMENT if it is absent or not such a message.
grpc::Status ParseSmallRequest(const MessageBytes& bytes,
                               google::protobuf::Message* request);

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_QUEUED_SERVICE_H_
