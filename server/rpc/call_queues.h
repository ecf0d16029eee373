// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_CALL_QUEUES_H_
#define LOSSD_SERVER_RPC_CALL_QUEUES_H_

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "grpcpp/completion_queue.h"
#include "grpcpp/impl/rpc_service_method.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "server/rpc/core_call.h"

namespace lossd {

// A method whose calls are served from completion queues.
struct QueuedMethod {
  // As it is registered with the server: without a handler.
  const grpc::internal::RpcServiceMethod* registered = nullptr;
  // Makes the call, whose Start() follows. Thread-safe.
  std::function<std::shared_ptr<CoreCall>(const ArrivedCall&)> make;
};

// The completion queues of a server, each with a thread that accepts calls and
// tells them what happens. What a call does there holds up the other calls of
// its queue.
class CallQueues {
 public:
  // Adds the queues to a server that is going to be built.
  CallQueues(int count, grpc::ServerBuilder* builder);
  ~CallQueues();

  CallQueues(const CallQueues&) = delete;
  CallQueues& operator=(const CallQueues&) = delete;

  // Starts the threads. `server` has been built; it is destroyed before this.
  void Serve(grpc::Server* server, std::vector<QueuedMethod> methods);

  // To be called after the Shutdown() of the server. Returns when every call
  // has ended. May be called again.
  void ShutDown();

 private:
  class Acceptor;

  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues_;
  std::vector<std::unique_ptr<Acceptor>> acceptors_;
  // Acceptors that the server can still give a call, and calls that have not
  // ended: a queue must not shut down before.
  std::atomic<int64_t> accepting_ = 0;
  std::atomic<int64_t> open_calls_ = 0;
  std::vector<std::thread> threads_;
  bool shut_down_ = false;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_CALL_QUEUES_H_
