// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/call_queues.h"

#include <utility>

#include "absl/time/clock.h"

namespace lossd {
namespace {

// Calls of a method that a queue is ready for at any time; more of them wait in
// gRPC's core for a moment, at the price of a lock.
constexpr int kAcceptorsPerMethod = 32;
// How often the end looks whether calls are left.
constexpr absl::Duration kPollTime = absl::Milliseconds(1);

}  // namespace

// Waits for one call after another of a method.
class CallQueues::Acceptor final : public QueueTag {
 public:
  Acceptor(CallQueues* queues, grpc::Server* server,
           grpc::ServerCompletionQueue* queue, QueuedMethod method)
      : queues_(*queues),
        server_(server->c_server()),
        queue_(queue->cq()),
        method_(std::move(method)) {
    queues_.accepting_.fetch_add(1);
    Await();
  }

  void OnEnd(bool ok) override {
    if (!ok) {
      // The server shuts down.
      queues_.accepting_.fetch_sub(1);
      return;
    }
    const std::shared_ptr<CoreCall> call = method_.make(arrived_);
    Await();
    call->Start();
  }

 private:
  void Await() {
    arrived_ = ArrivedCall();
    arrived_.open_calls = &queues_.open_calls_;
    const grpc_call_error error = grpc_server_request_registered_call(
        server_, method_.registered->server_tag(), &arrived_.call,
        &arrived_.deadline, &arrived_.headers, nullptr, queue_, queue_,
        static_cast<grpc::internal::CompletionQueueTag*>(this));
    GPR_ASSERT(error == GRPC_CALL_OK);
  }

  CallQueues& queues_;
  grpc_server* const server_;
  grpc_completion_queue* const queue_;
  const QueuedMethod method_;
  ArrivedCall arrived_;
};

CallQueues::CallQueues(int count, grpc::ServerBuilder* builder) {
  for (int i = 0; i < count; ++i) {
    queues_.push_back(builder->AddCompletionQueue());
  }
}

CallQueues::~CallQueues() { ShutDown(); }

void CallQueues::ShutDown() {
  if (shut_down_) return;
  shut_down_ = true;
  while (accepting_.load() > 0 || open_calls_.load() > 0) {
    absl::SleepFor(kPollTime);
  }
  for (const auto& queue : queues_) queue->Shutdown();
  for (std::thread& thread : threads_) thread.join();
  // Without threads nobody has emptied them.
  void* tag = nullptr;
  bool ok = false;
  for (const auto& queue : queues_) {
    while (queue->Next(&tag, &ok)) {
    }
  }
}

void CallQueues::Serve(grpc::Server* server,
                       std::vector<QueuedMethod> methods) {
  for (const auto& queue : queues_) {
    for (const QueuedMethod& method : methods) {
      for (int i = 0; i < kAcceptorsPerMethod; ++i) {
        acceptors_.push_back(
            std::make_unique<Acceptor>(this, server, queue.get(), method));
      }
    }
    threads_.emplace_back([queue = queue.get()] {
      void* tag = nullptr;
      bool ok = false;
      while (queue->Next(&tag, &ok)) static_cast<QueueTag*>(tag)->OnEnd(ok);
    });
  }
}

}  // namespace lossd
