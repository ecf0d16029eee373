// SPDX-License-Identifier: Apache-2.0
//
// Answers every ComputeGradient call with its own bytes: as much as a gRPC
// server in C++ can do. It has the forms that such a server can take, of which
// the fastest is the one to compare with. Serves until it is killed.

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

#include "lossd/v1/loss_service.grpc.pb.h"
#include "server/rpc/process_setup.h"

namespace lossd {
namespace {

// Calls that a completion queue is ready for at any time.
constexpr int kCallsPerQueue = 64;

using UnaryService = v1::LossService::WithRawMethod_ComputeGradient<
    v1::LossService::AsyncService>;

// A place for one call at a time, on a completion queue.
class QueueCall {
 public:
  virtual ~QueueCall() = default;
  // The operation that was waited for has ended.
  virtual void Proceed(bool ok) = 0;
};

// A call of any method, by its name: three operations.
class GenericCall final : public QueueCall {
 public:
  GenericCall(grpc::AsyncGenericService* service,
              grpc::ServerCompletionQueue* queue)
      : service_(*service), queue_(*queue) {
    Await();
  }

  void Proceed(bool ok) override {
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

// A call of the registered method, which comes with its message: two
// operations.
class UnaryCall final : public QueueCall {
 public:
  UnaryCall(UnaryService* service, grpc::ServerCompletionQueue* queue)
      : service_(*service), queue_(*queue) {
    Await();
  }

  void Proceed(bool ok) override {
    if (awaits_ && ok) {
      awaits_ = false;
      writer_->Finish(bytes_, grpc::Status::OK, this);
    } else {
      Await();
    }
  }

 private:
  void Await() {
    awaits_ = true;
    bytes_.Clear();
    writer_.reset();
    context_.emplace();
    writer_.emplace(&*context_);
    service_.RequestComputeGradient(&*context_, &bytes_, &*writer_, &queue_,
                                    &queue_, this);
  }

  UnaryService& service_;
  grpc::ServerCompletionQueue& queue_;
  bool awaits_ = true;
  std::optional<grpc::ServerContext> context_;
  std::optional<grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>> writer_;
  grpc::ByteBuffer bytes_;
};

// Calls of any method on gRPC's own threads.
class GenericReactor final : public grpc::ServerGenericBidiReactor {
 public:
  GenericReactor() { StartRead(&bytes_); }
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

class GenericCallbackService final : public grpc::CallbackGenericService {
  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext*) override {
    return new GenericReactor;
  }
};

class UnaryCallbackService final
    : public v1::LossService::WithRawCallbackMethod_ComputeGradient<
          v1::LossService::CallbackService> {
  grpc::ServerUnaryReactor* ComputeGradient(
      grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
      grpc::ByteBuffer* response) override {
    *response = *request;
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

struct Options {
  std::string listen = "127.0.0.1:0";
  std::string port_file;
  bool unary = false;
  int queues = 1;
  int threads = 1;
};

// One server in the form that the options say.
class EchoServer {
 public:
  explicit EchoServer(const Options& options) : options_(options) {}

  // Returns the address it listens at, or nothing.
  std::optional<std::string> Start() {
    const size_t colon = options_.listen.rfind(':');
    if (colon == std::string::npos) return std::nullopt;
    grpc::ServerBuilder builder;
    builder.SetMaxReceiveMessageSize(-1);
    builder.SetMaxSendMessageSize(-1);
    int port = 0;
    builder.AddListeningPort(options_.listen, grpc::InsecureServerCredentials(),
                             &port);
    Register(&builder);
    for (int i = 0; i < options_.queues; ++i) {
      queues_.push_back(builder.AddCompletionQueue());
    }
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port == 0) return std::nullopt;
    for (const auto& queue : queues_) Poll(queue.get());
    return options_.listen.substr(0, colon + 1) + std::to_string(port);
  }

  void Wait() { server_->Wait(); }

 private:
  void Register(grpc::ServerBuilder* builder) {
    if (options_.queues == 0 && options_.unary) {
      builder->RegisterService(&unary_callbacks_);
    } else if (options_.queues == 0) {
      builder->RegisterCallbackGenericService(&generic_callbacks_);
    } else if (options_.unary) {
      builder->RegisterService(&unary_);
    } else {
      builder->RegisterAsyncGenericService(&generic_);
    }
  }

  void Poll(grpc::ServerCompletionQueue* queue) {
    for (int i = 0; i < kCallsPerQueue; ++i) {
      if (options_.unary) {
        calls_.push_back(std::make_unique<UnaryCall>(&unary_, queue));
      } else {
        calls_.push_back(std::make_unique<GenericCall>(&generic_, queue));
      }
    }
    for (int i = 0; i < options_.threads; ++i) {
      threads_.emplace_back([queue] {
        void* tag = nullptr;
        bool ok = false;
        while (queue->Next(&tag, &ok)) {
          static_cast<QueueCall*>(tag)->Proceed(ok);
        }
      });
    }
  }

  const Options options_;
  grpc::AsyncGenericService generic_;
  UnaryService unary_;
  GenericCallbackService generic_callbacks_;
  UnaryCallbackService unary_callbacks_;
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues_;
  std::unique_ptr<grpc::Server> server_;
  std::vector<std::unique_ptr<QueueCall>> calls_;
  std::vector<std::thread> threads_;
};

bool WritePort(const std::string& path, const std::string& address) {
  const std::string temporary = path + ".tmp";
  std::ofstream file(temporary, std::ios::trunc);
  file << "listen=" << address << "\n";
  file.close();
  return file && std::rename(temporary.c_str(), path.c_str()) == 0;
}

int Main(int argc, char** argv) {
  // As lossd does: no process compared is faster by its allocator or locks.
  SkipDeadlockDetection();
  Options options;
  std::string service = "generic";
  CLI::App app("Answers every ComputeGradient call with its own bytes");
  app.add_option("--listen", options.listen,
                 "HOST:PORT; port 0 takes a free one");
  app.add_option("--port-file", options.port_file,
                 "Writes listen=HOST:PORT there");
  app.add_option("--service", service,
                 "generic: any method by name; unary: the registered one")
      ->check(CLI::IsMember({"generic", "unary"}));
  app.add_option("--queues", options.queues,
                 "Completion queues; 0 for gRPC's callbacks")
      ->check(CLI::Range(0, 64));
  app.add_option("--threads", options.threads, "Of each queue")
      ->check(CLI::Range(1, 64));
  CLI11_PARSE(app, argc, argv);
  options.unary = service == "unary";
  EchoServer server(options);
  const std::optional<std::string> address = server.Start();
  if (!address.has_value()) {
    std::fprintf(stderr, "echo_server: cannot listen on %s\n",
                 options.listen.c_str());
    return 1;
  }
  std::printf("listen=%s\n", address->c_str());
  std::fflush(stdout);
  if (!options.port_file.empty() && !WritePort(options.port_file, *address)) {
    std::fprintf(stderr, "echo_server: cannot write %s\n",
                 options.port_file.c_str());
    std::_Exit(1);
  }
  server.Wait();
  return 0;
}

}  // namespace
}  // namespace lossd

int main(int argc, char** argv) { return lossd::Main(argc, argv); }
