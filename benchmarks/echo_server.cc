// SPDX-License-Identifier: Apache-2.0
//
// Answers every unary call with its own bytes: as much as a gRPC server in C++
// can do. Serves until it is killed.

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "server/rpc/process_setup.h"

namespace lossd {
namespace {

// Calls that a completion queue is ready for at any time.
constexpr int kCallsPerQueue = 64;

// A place for one call at a time, on a completion queue.
class QueueCall {
 public:
  QueueCall(grpc::AsyncGenericService* service,
            grpc::ServerCompletionQueue* queue)
      : service_(*service), queue_(*queue) {
    Await();
  }

  // The operation that was waited for has ended.
  void Proceed(bool ok) {
    if (step_ == Step::kAwait && ok) {
      step_ = Step::kRead;
      stream_->Read(&bytes_, this);
    } else if (step_ == Step::kRead && ok) {
      step_ = Step::kFinish;
      stream_->WriteAndFinish(bytes_, grpc::WriteOptions(), grpc::Status::OK,
                              this);
    } else {
      Await();
    }
  }

 private:
  enum class Step { kAwait, kRead, kFinish };

  void Await() {
    step_ = Step::kAwait;
    bytes_.Clear();
    stream_.reset();
    context_.emplace();
    stream_.emplace(&*context_);
    service_.RequestCall(&*context_, &*stream_, &queue_, &queue_, this);
  }

  grpc::AsyncGenericService& service_;
  grpc::ServerCompletionQueue& queue_;
  Step step_ = Step::kAwait;
  std::optional<grpc::GenericServerContext> context_;
  std::optional<grpc::GenericServerAsyncReaderWriter> stream_;
  grpc::ByteBuffer bytes_;
};

void ServeQueue(grpc::AsyncGenericService* service,
                grpc::ServerCompletionQueue* queue) {
  std::vector<std::unique_ptr<QueueCall>> calls;
  for (int i = 0; i < kCallsPerQueue; ++i) {
    calls.push_back(std::make_unique<QueueCall>(service, queue));
  }
  void* tag = nullptr;
  bool ok = false;
  while (queue->Next(&tag, &ok)) static_cast<QueueCall*>(tag)->Proceed(ok);
}

// A call on gRPC's own threads.
class CallbackCall final : public grpc::ServerGenericBidiReactor {
 public:
  CallbackCall() { StartRead(&bytes_); }
  void OnReadDone(bool ok) override {
    if (ok) {
      StartWriteAndFinish(&bytes_, grpc::WriteOptions(), grpc::Status::OK);
    } else {
      Finish(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "no message"));
    }
  }
  void OnDone() override { delete this; }

 private:
  grpc::ByteBuffer bytes_;
};

class CallbackEcho final : public grpc::CallbackGenericService {
  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext*) override {
    return new CallbackCall;
  }
};

bool WritePort(const std::string& path, const std::string& address) {
  const std::string temporary = path + ".tmp";
  std::ofstream file(temporary, std::ios::trunc);
  file << "listen=" << address << "\n";
  file.close();
  return file && std::rename(temporary.c_str(), path.c_str()) == 0;
}

int Serve(const std::string& host, int port, const std::string& port_file,
          int queue_count) {
  grpc::AsyncGenericService queue_service;
  CallbackEcho callback_service;
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(-1);
  builder.SetMaxSendMessageSize(-1);
  int bound = 0;
  builder.AddListeningPort(host + ":" + std::to_string(port),
                           grpc::InsecureServerCredentials(), &bound);
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues;
  if (queue_count == 0) {
    builder.RegisterCallbackGenericService(&callback_service);
  } else {
    builder.RegisterAsyncGenericService(&queue_service);
  }
  for (int i = 0; i < queue_count; ++i) {
    queues.push_back(builder.AddCompletionQueue());
  }
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || bound == 0) {
    std::fprintf(stderr, "echo_server: cannot listen on %s\n", host.c_str());
    return 1;
  }
  std::vector<std::thread> threads;
  for (const auto& queue : queues) {
    threads.emplace_back([&] { ServeQueue(&queue_service, queue.get()); });
  }
  const std::string address = host + ":" + std::to_string(bound);
  std::printf("listen=%s\n", address.c_str());
  std::fflush(stdout);
  if (!port_file.empty() && !WritePort(port_file, address)) {
    std::fprintf(stderr, "echo_server: cannot write %s\n", port_file.c_str());
    std::_Exit(1);
  }
  server->Wait();
  return 0;
}

int Main(int argc, char** argv) {
  // As lossd does: no process compared is faster by its allocator.
  KeepMessageMemory();
  std::string listen = "127.0.0.1:0";
  std::string port_file;
  int queues = 1;
  CLI::App app("Answers every unary gRPC call with its own bytes");
  app.add_option("--listen", listen, "HOST:PORT; port 0 takes a free one");
  app.add_option("--port-file", port_file, "Writes listen=HOST:PORT there");
  app.add_option("--queues", queues,
                 "Completion queues, each with a thread; 0 for callbacks")
      ->check(CLI::Range(0, 64));
  CLI11_PARSE(app, argc, argv);
  const size_t colon = listen.rfind(':');
  if (colon == std::string::npos) {
    std::fputs("echo_server: --listen is HOST:PORT\n", stderr);
    return 2;
  }
  return Serve(listen.substr(0, colon), std::stoi(listen.substr(colon + 1)),
               port_file, queues);
}

}  // namespace
}  // namespace lossd

int main(int argc, char** argv) { return lossd::Main(argc, argv); }
