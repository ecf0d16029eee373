// SPDX-License-Identifier: Apache-2.0

#include "server/telemetry/admin_server.h"

#include <httplib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/telemetry/connection_listener.h"
#include "server/telemetry/prometheus_metrics.h"

namespace lossd {
namespace {

constexpr size_t kMaxRequestBytes = 8 << 10;
constexpr char kPlainText[] = "text/plain; charset=utf-8";

// A connection as httplib reads and writes it, up to the size of a request.
class RequestStream final : public httplib::Stream {
 public:
  explicit RequestStream(Connection& connection) : connection_(connection) {}

  bool is_readable() const override { return true; }
  bool is_writable() const override { return true; }

  // httplib reads the head of a request byte by byte.
  ssize_t read(char* data, size_t size) override {
    if (next_ == end_) {
      size_t most = std::min(buffer_.size(), kMaxRequestBytes - total_);
      if (most == 0) return 0;
      ssize_t got = connection_.Read(buffer_.data(), most);
      if (got <= 0) return got;
      next_ = 0;
      end_ = static_cast<size_t>(got);
      total_ += end_;
    }
    size_t count = std::min(size, end_ - next_);
    std::memcpy(data, buffer_.data() + next_, count);
    next_ += count;
    return static_cast<ssize_t>(count);
  }

  ssize_t write(const char* data, size_t size) override {
    return connection_.Write(data, size);
  }

  void get_remote_ip_and_port(std::string&, int& port) const override {
    port = 0;
  }
  void get_local_ip_and_port(std::string&, int& port) const override {
    port = 0;
  }
  // httplib asks in order to refuse descriptors that select(2) cannot watch,
  // which a process with a thousand connections soon has.
  socket_t socket() const override { return 0; }

 private:
  Connection& connection_;
  std::array<char, 2048> buffer_;
  size_t next_ = 0;
  size_t end_ = 0;
  size_t total_ = 0;
};

// 200 with `good`, or 503 with a word why not.
void AnswerProbe(const char* good, const std::string& why_not,
                 httplib::Response& response) {
  response.status = why_not.empty() ? 200 : 503;
  response.set_content(absl::StrCat(why_not.empty() ? good : why_not, "\n"),
                       kPlainText);
}

// httplib's reading of requests and writing of answers, without its sockets
// and threads: those give each read a time limit but not the whole connection,
// end the listener on a failed accept, and share the port with any other
// process.
class HttpAnswers final : public httplib::Server {
 public:
  explicit HttpAnswers(const AdminServerOptions& options) {
    // Instead of routes: a path is matched exactly, and a body never read.
    set_pre_routing_handler([&options](const httplib::Request& request,
                                       httplib::Response& response) {
      Answer(options, request, response);
      return HandlerResponse::Handled;
    });
  }

  void Serve(Connection& connection) {
    RequestStream stream(connection);
    bool closed = false;
    process_request(stream, /*close_connection=*/true, closed,
                    [](httplib::Request& request) {
                      // Both are optional to support. Many small ranges would
                      // make a large answer of a small request.
                      request.ranges.clear();
                      request.headers.erase("Expect");
                    });
  }

 private:
  static void Answer(const AdminServerOptions& options,
                     const httplib::Request& request,
                     httplib::Response& response) {
    if (request.method != "GET" && request.method != "HEAD") {
      response.status = 405;
      response.set_header("Allow", "GET, HEAD");
      response.set_content("only GET and HEAD\n", kPlainText);
    } else if (request.path == "/livez") {
      AnswerProbe("ok", options.not_alive(), response);
    } else if (request.path == "/readyz") {
      AnswerProbe("ready", options.not_ready(), response);
    } else if (request.path == "/metrics") {
      response.status = 200;
      response.set_content(options.metrics(), PrometheusMetrics::kContentType);
    } else {
      response.status = 404;
      response.set_content("not found\n", kPlainText);
    }
  }
};

}  // namespace

// Ended in the reverse order: the listener first.
struct AdminServer::State {
  explicit State(AdminServerOptions given)
      : options(std::move(given)), answers(options) {}

  const AdminServerOptions options;
  HttpAnswers answers;
  std::unique_ptr<ConnectionListener> listener;
};

absl::StatusOr<std::unique_ptr<AdminServer>> AdminServer::Start(
    AdminServerOptions options) {
  auto state = std::make_unique<State>(std::move(options));
  HttpAnswers& answers = state->answers;
  absl::StatusOr<std::unique_ptr<ConnectionListener>> listener =
      ConnectionListener::Start(
          {.host = state->options.host,
           .port = state->options.port,
           .threads = state->options.threads,
           .deadline = absl::ToChronoMilliseconds(state->options.deadline),
           .serve = [&answers](Connection& connection) {
             // What a hostile request makes httplib throw
             // ends only itself.
             try {
               answers.Serve(connection);
             } catch (...) {
             }
           }});
  if (!listener.ok()) return listener.status();
  state->listener = *std::move(listener);
  return std::unique_ptr<AdminServer>(new AdminServer(std::move(state)));
}

AdminServer::AdminServer(std::unique_ptr<State> state)
    : state_(std::move(state)) {}
AdminServer::~AdminServer() { Stop(); }

int AdminServer::port() const { return state_->listener->port(); }
void AdminServer::Stop() { state_->listener->Stop(); }

}  // namespace lossd
