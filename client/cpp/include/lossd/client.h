// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_H_
#define LOSSD_CLIENT_H_

#include <grpcpp/channel.h>
#include <grpcpp/security/credentials.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "lossd/error.h"
#include "lossd/evaluation_stream.h"
#include "lossd/rows.h"
#include "lossd/tensor.h"
#include "lossd/v1/loss_service.pb.h"
#include "lossd/v1/stream.pb.h"

namespace lossd {

// When gRPC repeats a call by itself. Every call is free of side effects, so a
// repetition never changes a result. Calls that failed with UNAVAILABLE or
// RESOURCE_EXHAUSTED are repeated, after the pause that the server asks for
// (grpc-retry-pushback-ms; negative: not at all) or else a random one of up to
// initial_backoff * multiplier^k, at most max_backoff. The call's deadline
// covers all attempts.
struct RetryPolicy {
  // Attempts in all, 1 to 5; 1 turns retries off.
  int max_attempts = 5;
  absl::Duration initial_backoff = absl::Milliseconds(50);
  absl::Duration max_backoff = absl::Seconds(2);
  double backoff_multiplier = 2;
  // Retries to one server name stop while failures outweigh successes: each
  // failure takes one token of max_tokens (1 to 1000), each success gives back
  // token_ratio, and there are no retries below half of max_tokens.
  int max_tokens = 1000;
  double token_ratio = 0.1;
};

// The settings of a channel and of the calls over it.
struct ClientOptions {
  // How to secure the connection; null: not at all.
  std::shared_ptr<grpc::ChannelCredentials> credentials = nullptr;
  // The largest request and answer, in encoded bytes, 1 to 2^31 - 1. The
  // default is the server's. Requests are kept for retries up to this size.
  int64_t max_message_bytes = int64_t{64} << 20;
  // The deadline of calls that set none, from their start;
  // absl::InfiniteDuration() for none.
  absl::Duration timeout = absl::Seconds(60);
  RetryPolicy retry = {};
  // Put in front of gRPC's own in the user-agent header.
  std::string user_agent = {};
};

// The settings of one call.
struct CallOptions {
  // When to give up, with DEADLINE_EXCEEDED: the earlier of the two. Without a
  // timeout the client's.
  std::optional<absl::Duration> timeout = std::nullopt;
  absl::Time deadline = absl::InfiniteFuture();
  // Names the call in the server's log; at most 128 bytes of printable ASCII.
  std::string request_id = {};
  v1::Priority priority = v1::PRIORITY_UNSPECIFIED;
  // Cancels the call, which then ends with CANCELLED, when its
  // std::stop_source asks for a stop. One source may stop many calls.
  std::stop_token stop = {};
};

// What a server says of its health.
enum class Health { kUnknown = 0, kServing = 1, kNotServing = 2 };

// A channel as Client makes it: limits, retries and round-robin over all
// addresses of the name, as `options` say. `address` is a gRPC target, such as
// "127.0.0.1:50051", "dns:///lossd.example:50051" or "unix:/run/lossd.sock".
// Connects on the first call. A channel may be shared by any number of clients,
// stubs and threads.
std::shared_ptr<grpc::Channel> CreateChannel(absl::string_view address,
                                             const ClientOptions& options);

// Calls lossd.
//
// Thread-safe: any number of calls may run at a time, and one client is enough
// for a process. A copy shares the channel. A client may be destroyed while
// asynchronous calls run; they still end with their callback.
//
// Errors are those of the server with their details (see GetErrorDetails), and
// of the transport: UNAVAILABLE if there is no server after all attempts,
// DEADLINE_EXCEEDED, CANCELLED, and RESOURCE_EXHAUSTED for a request over
// max_message_bytes, which is not sent.
//
// A request whose call has a request_id or priority is copied for them, unless
// it is moved in.
class Client {
 public:
  template <typename Response>
  using Callback = absl::AnyInvocable<void(absl::StatusOr<Response>)>;

  // A client with a channel of its own.
  explicit Client(absl::string_view address, const ClientOptions& options = {});
  // A client over a channel from CreateChannel. Of `options`, only `timeout`
  // and `max_message_bytes` count. A channel made otherwise has its own limits
  // and retries.
  explicit Client(const std::shared_ptr<grpc::Channel>& channel,
                  const ClientOptions& options = {});

  // Each of these blocks until the call ends.
  absl::StatusOr<v1::ComputeLossResponse> ComputeLoss(
      const v1::ComputeLossRequest& request,
      const CallOptions& options = {}) const;
  absl::StatusOr<v1::ComputeLossResponse> ComputeLoss(
      v1::ComputeLossRequest&& request, const CallOptions& options = {}) const;
  absl::StatusOr<v1::ComputeGradientResponse> ComputeGradient(
      const v1::ComputeGradientRequest& request,
      const CallOptions& options = {}) const;
  absl::StatusOr<v1::ComputeGradientResponse> ComputeGradient(
      v1::ComputeGradientRequest&& request,
      const CallOptions& options = {}) const;
  // Computes one evaluation that is larger than a message, sending the rows of
  // the large tensors and receiving their gradients at the same time; either
  // can be far larger than what the client or the server holds. In the head
  // these tensors have dtype and shape but no content (DeclareTensor). The
  // answer has everything but the gradients; after an error their memory holds
  // nothing of use. Runs a thread until the call ends. Never repeated. Allow
  // for the time that it takes in `options`.
  //
  //     v1::RowsHead head;
  //     auto* loss = head.mutable_gradient()->mutable_evaluation()
  //                      ->mutable_cross_entropy();
  //     *loss->mutable_target() = MakeTensor(labels, {n});
  //     *loss->mutable_input() = DeclareTensor<float>({n, classes});
  //     client.ComputeRows(head, {StreamFrom<float>("input", logits)},
  //                        {StreamInto<float>("input", gradient)});
  //
  // Errors: also INVALID_ARGUMENT if lengths do not fit the head.
  absl::StatusOr<v1::ComputeGradientResponse> ComputeRows(
      const v1::RowsHead& head, absl::Span<const StreamedTensor> tensors,
      absl::Span<const StreamedGradient> gradients = {},
      const CallOptions& options = {}) const;
  // Open a stream of evaluations, and return at once: see EvaluationStream. The
  // deadline, which is infinite unless `options` say otherwise, and a stop hold
  // for all of them, and each has the request_id and priority of `options`.
  // What broke before the server said anything may be repeated by gRPC, as
  // calls are.
  std::unique_ptr<LossStream> StreamLoss(const CallOptions& options = {}) const;
  std::unique_ptr<GradientStream> StreamGradient(
      const CallOptions& options = {}) const;
  absl::StatusOr<v1::ListLossesResponse> ListLosses(
      const CallOptions& options = {}) const;
  absl::StatusOr<v1::GetServerInfoResponse> GetServerInfo(
      const CallOptions& options = {}) const;
  // The health of `service`, or, if it is empty, of the whole server. Never
  // repeated. NOT_FOUND if the server does not know the service.
  absl::StatusOr<Health> Check(absl::string_view service = "",
                               const CallOptions& options = {}) const;

  // These return at once, and `done` is called exactly once, on a thread of
  // gRPC, which it must not block; or, if the request is over
  // max_message_bytes, before the function returns. The request is moved in.
  void ComputeLossAsync(v1::ComputeLossRequest request,
                        const CallOptions& options,
                        Callback<v1::ComputeLossResponse> done) const;
  void ComputeGradientAsync(v1::ComputeGradientRequest request,
                            const CallOptions& options,
                            Callback<v1::ComputeGradientResponse> done) const;
  void ListLossesAsync(const CallOptions& options,
                       Callback<v1::ListLossesResponse> done) const;
  void GetServerInfoAsync(const CallOptions& options,
                          Callback<v1::GetServerInfoResponse> done) const;

 private:
  struct Core;
  std::shared_ptr<const Core> core_;
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_H_
