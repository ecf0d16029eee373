// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_TESTS_UNIT_RPC_QUEUED_SERVER_H_
#define LOSSD_TESTS_UNIT_RPC_QUEUED_SERVER_H_

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "server/rpc/call_queues.h"
#include "server/rpc/queued_service.h"

namespace lossd {

// A server of one service, on a free port of the loopback interface.
class QueuedServer {
 public:
  explicit QueuedServer(QueuedService* service) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port_);
    builder.RegisterService(service);
    queues_ = std::make_unique<CallQueues>(2, &builder);
    server_ = builder.BuildAndStart();
    queues_->Serve(server_.get(), service->QueuedMethods());
  }
  ~QueuedServer() { Shutdown(absl::ZeroDuration()); }

  // Returns when every call has ended. Cancels what is left after `timeout`.
  void Shutdown(absl::Duration timeout) {
    server_->Shutdown(absl::ToChronoTime(absl::Now() + timeout));
    queues_->ShutDown();
  }

  // A new connection.
  std::shared_ptr<grpc::Channel> NewChannel() const {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", port_),
                                     grpc::InsecureChannelCredentials(),
                                     arguments);
  }

 private:
  int port_ = 0;
  std::unique_ptr<CallQueues> queues_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace lossd

#endif  // LOSSD_TESTS_UNIT_RPC_QUEUED_SERVER_H_
