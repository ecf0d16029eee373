// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/open_stream.h"

#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/support/async_stream.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <optional>
#include <stop_token>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/call_setup.h"
#include "lossd/error.h"

namespace lossd {
namespace {

// A message that has evaluations grows no further than to this.
constexpr size_t kFullMessageBytes = size_t{1} << 20;
// What surrounds an evaluation in a message, at most.
constexpr size_t kEnvelopeBytes = 64;

struct LossCall {
  using Request = v1::ComputeLossRequest;
  using Response = v1::ComputeLossResponse;
  using Message = v1::StreamLossRequest;
  using Answer = v1::StreamLossResponse;
  static constexpr auto kPrepare =
      &v1::LossService::Stub::PrepareAsyncStreamLoss;
};

struct GradientCall {
  using Request = v1::ComputeGradientRequest;
  using Response = v1::ComputeGradientResponse;
  using Message = v1::StreamGradientRequest;
  using Answer = v1::StreamGradientResponse;
  static constexpr auto kPrepare =
      &v1::LossService::Stub::PrepareAsyncStreamGradient;
};

absl::Status StatusOf(const v1::EvaluationError& error) {
  // It is laid out as the google.rpc.Status that a call's details are.
  return ToAbslStatus(grpc::Status(static_cast<grpc::StatusCode>(error.code()),
                                   error.message(), error.SerializeAsString()));
}

// One stream, driven by its caller: the completion queue is polled in Next()
// and Close() alone. One message is written and one is read at a time.
template <typename Call>
class OpenStream final
    : public EvaluationStream<typename Call::Request, typename Call::Response> {
 public:
  using Request = typename Call::Request;
  using Outcome = EvaluationOutcome<typename Call::Response>;

  OpenStream(std::shared_ptr<v1::LossService::Stub> stub,
             int64_t max_message_bytes, const CallOptions& options)
      : stub_(std::move(stub)),
        max_message_bytes_(max_message_bytes),
        options_(options),
        on_stop_(options.stop, [this] { context_.TryCancel(); }) {
    SetDeadline(context_, options, absl::InfiniteDuration());
    stream_ = ((*stub_).*Call::kPrepare)(&context_, &queue_);
    stream_->StartCall(Tag(kStarted));
  }

  ~OpenStream() override {
    context_.TryCancel();
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }

  void Send(int64_t id, Request request) override {
    ++open_;
    SetHints(request, options_);
    const size_t bytes = request.ByteSizeLong() + kEnvelopeBytes;
    if (absl::Status fits = CheckSize(bytes, max_message_bytes_); !fits.ok()) {
      outcomes_.push_back({id, std::move(fits)});
      return;
    }
    if (unsent_.empty() || unsent_.back().bytes + bytes > kFullMessageBytes) {
      unsent_.emplace_back();
    }
    unsent_.back().bytes += bytes;
    auto& sent = *unsent_.back().message.add_evaluations();
    sent.set_id(id);
    *sent.mutable_request() = std::move(request);
    Write();
  }

  int64_t open() const override { return open_; }

  absl::StatusOr<Outcome> Next() override {
    if (open_ == 0) {
      return absl::FailedPreconditionError("no evaluation is open: send one");
    }
    while (outcomes_.empty() && !end_.has_value()) Step();
    if (outcomes_.empty()) return End();
    Outcome outcome = std::move(outcomes_.front());
    outcomes_.pop_front();
    --open_;
    return outcome;
  }

  absl::Status Close() override {
    closing_ = true;
    Write();
    while (!end_.has_value()) Step();
    return End();
  }

 private:
  struct Unsent {
    typename Call::Message message;
    size_t bytes = 0;
  };
  enum Event : intptr_t { kStarted = 1, kRead, kWritten, kClosed, kFinished };
  static void* Tag(Event event) { return reinterpret_cast<void*>(event); }

  // The stream's status once it has ended.
  absl::Status End() const {
    if (!end_->ok()) return ToAbslStatus(*end_);
    const int64_t lost = open_ - static_cast<int64_t>(outcomes_.size());
    if (lost == 0) return absl::OkStatus();
    return absl::UnavailableError(
        absl::StrCat("the stream has ended, and ", lost,
                     " evaluations have no outcome: send them over another"));
  }

  // Writes what is next, if nothing is being written.
  void Write() {
    if (!started_ || writing_ || closed_ || broken_) return;
    if (!unsent_.empty()) {
      writing_ = true;
      stream_->Write(unsent_.front().message, Tag(kWritten));
      unsent_.pop_front();
    } else if (closing_) {
      closed_ = true;
      stream_->WritesDone(Tag(kClosed));
    }
  }

  void Finish() {
    broken_ = true;
    stream_->Finish(&status_, Tag(kFinished));
  }

  // Waits for something to happen.
  void Step() {
    void* tag = nullptr;
    bool ok = false;
    queue_.Next(&tag, &ok);
    if (tag == Tag(kFinished)) {
      end_ = status_;
    } else if (tag == Tag(kWritten)) {
      writing_ = false;
      // If it failed, the read does, too.
      broken_ = broken_ || !ok;
      Write();
    } else if (tag == Tag(kStarted) || tag == Tag(kRead)) {
      if (!ok) return Finish();
      if (tag == Tag(kStarted)) started_ = true;
      TakeOutcomes();
      stream_->Read(&answer_, Tag(kRead));
      Write();
    }
  }

  void TakeOutcomes() {
    for (auto& outcome : *answer_.mutable_outcomes()) {
      if (outcome.has_error()) {
        outcomes_.push_back({outcome.id(), StatusOf(outcome.error())});
      } else {
        outcomes_.push_back(
            {outcome.id(), std::move(*outcome.mutable_response())});
      }
    }
    answer_.Clear();
  }

  const std::shared_ptr<v1::LossService::Stub> stub_;
  const int64_t max_message_bytes_;
  const CallOptions options_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<typename Call::Message,
                                                typename Call::Answer>>
      stream_;
  std::deque<Unsent> unsent_;
  typename Call::Answer answer_;
  std::deque<Outcome> outcomes_;
  int64_t open_ = 0;
  bool started_ = false;
  bool writing_ = false;
  bool closing_ = false;
  bool closed_ = false;
  bool broken_ = false;  // nothing more is written
  grpc::Status status_;
  std::optional<grpc::Status> end_;
  // The last, because it uses the context.
  std::stop_callback<std::function<void()>> on_stop_;
};

}  // namespace

std::unique_ptr<LossStream> OpenLossStream(
    std::shared_ptr<v1::LossService::Stub> stub, int64_t max_message_bytes,
    const CallOptions& options) {
  return std::make_unique<OpenStream<LossCall>>(std::move(stub),
                                                max_message_bytes, options);
}

std::unique_ptr<GradientStream> OpenGradientStream(
    std::shared_ptr<v1::LossService::Stub> stub, int64_t max_message_bytes,
    const CallOptions& options) {
  return std::make_unique<OpenStream<GradientCall>>(std::move(stub),
                                                    max_message_bytes, options);
}

}  // namespace lossd
