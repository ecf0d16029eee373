// SPDX-License-Identifier: Apache-2.0
#include <grpcpp/create_channel.h>
#include <grpcpp/support/channel_arguments.h>

#include <algorithm>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "lossd/client.h"

namespace lossd {
namespace {

// gRPC counts a request's headers into its retry buffer, beside the message.
constexpr int64_t kHeaderAllowance = 64 << 10;

// https://github.com/grpc/grpc/blob/master/doc/service_config.md
std::string ServiceConfig(const RetryPolicy& retry) {
  std::string config = R"({"loadBalancingConfig": [{"round_robin": {}}])";
  if (retry.max_attempts > 1) {
    absl::StrAppendFormat(
        &config,
        R"(, "methodConfig": [{
          "name": [{"service": "lossd.v1.LossService"}],
          "retryPolicy": {
            "maxAttempts": %d,
            "initialBackoff": "%.9fs",
            "maxBackoff": "%.9fs",
            "backoffMultiplier": %g,
            "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]
          }
        }],
        "retryThrottling": {"maxTokens": %d, "tokenRatio": %.3f})",
        retry.max_attempts, absl::ToDoubleSeconds(retry.initial_backoff),
        absl::ToDoubleSeconds(retry.max_backoff), retry.backoff_multiplier,
        retry.max_tokens, retry.token_ratio);
  }
  absl::StrAppend(&config, "}");
  return config;
}

int Clamp(int64_t bytes) {
  return static_cast<int>(
      std::clamp<int64_t>(bytes, 0, std::numeric_limits<int>::max()));
}

}  // namespace

std::shared_ptr<grpc::Channel> CreateChannel(absl::string_view address,
                                             const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxSendMessageSize(Clamp(options.max_message_bytes));
  arguments.SetMaxReceiveMessageSize(Clamp(options.max_message_bytes));
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, options.retry.max_attempts > 1);
  arguments.SetInt(GRPC_ARG_PER_RPC_RETRY_BUFFER_SIZE,
                   Clamp(options.max_message_bytes + kHeaderAllowance));
  arguments.SetServiceConfigJSON(ServiceConfig(options.retry));
  if (!options.user_agent.empty()) {
    arguments.SetUserAgentPrefix(options.user_agent);
  }
  return grpc::CreateCustomChannel(std::string(address),
                                   options.credentials != nullptr
                                       ? options.credentials
                                       : grpc::InsecureChannelCredentials(),
                                   arguments);
}

}  // namespace lossd
