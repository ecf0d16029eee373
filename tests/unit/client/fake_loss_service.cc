// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/client/fake_loss_service.h"

#include <google/protobuf/text_format.h>
#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <grpcpp/health_check_service_interface.h>

#include "absl/strings/str_cat.h"

namespace lossd {
namespace {

// Answers nothing until the caller goes away.
class HeldCall final : public grpc::ServerUnaryReactor {
 public:
  explicit HeldCall(std::atomic<int>* cancelled) : cancelled_(cancelled) {}
  void OnCancel() override {
    ++*cancelled_;
    Finish(grpc::Status::CANCELLED);
  }
  void OnDone() override { delete this; }

 private:
  std::atomic<int>* const cancelled_;
};

grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context,
                                 const grpc::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(status);
  return reactor;
}

constexpr char kLosses[] = R"pb(
  losses {
    name: "binary_cross_entropy_with_logits"
    summary: "Binary cross-entropy of logits."
    formula: "weight * ((1 - target) * softplus(input) + ...)"
    denominator: "the number of elements"
    source: "torch.nn.functional.binary_cross_entropy_with_logits"
    cost_rule: "60 operations an element"
    reductions: [ REDUCTION_NONE, REDUCTION_MEAN, REDUCTION_SUM ]
    default_reduction: REDUCTION_MEAN
    outputs: [
      OUTPUT_LOSS,
      OUTPUT_ELEMENTWISE_LOSSES,
      OUTPUT_GRADIENTS,
      OUTPUT_PROBABILITIES,
      OUTPUT_PREDICTED_CLASSES
    ]
    devices: DEVICE_CPU
    tensors {
      name: "input"
      role: ROLE_INPUT
      required: true
      differentiable: true
      default_wrt: true
      dtypes: [ DTYPE_FLOAT16, DTYPE_BFLOAT16, DTYPE_FLOAT32, DTYPE_FLOAT64 ]
      shape_rule: "any shape"
      description: "The logits."
    }
    tensors {
      name: "target"
      role: ROLE_TARGET
      required: true
      differentiable: true
      dtypes: [ DTYPE_FLOAT16, DTYPE_BFLOAT16, DTYPE_FLOAT32, DTYPE_FLOAT64 ]
      shape_rule: "input's shape"
      description: "The wanted probabilities."
    }
    tensors {
      name: "weight"
      role: ROLE_WEIGHT
      dtypes: [ DTYPE_FLOAT16, DTYPE_BFLOAT16, DTYPE_FLOAT32, DTYPE_FLOAT64 ]
      shape_rule: "broadcastable to input's shape"
      description: "Rescales elements."
    }
    tensors {
      name: "pos_weight"
      role: ROLE_WEIGHT
      dtypes: [ DTYPE_FLOAT16, DTYPE_BFLOAT16, DTYPE_FLOAT32, DTYPE_FLOAT64 ]
      shape_rule: "broadcastable to input's shape"
      description: "Weighs the positive term."
    }
  }
  losses {
    name: "clipped_policy_loss"
    summary: "The clipped surrogate of PPO and its kin."
    formula: "max(-A * r, -A * clamp(r, 1 - clip_low, 1 + clip_high))"
    denominator: "the sum of mask"
    reductions: [ REDUCTION_NONE, REDUCTION_MEAN, REDUCTION_SUM ]
    default_reduction: REDUCTION_MEAN
    outputs: [ OUTPUT_LOSS, OUTPUT_ELEMENTWISE_LOSSES, OUTPUT_GRADIENTS ]
    parameters {
      name: "objective"
      type: TYPE_ENUM
      default_value: "CLIPPED"
      choices: [ "CLIPPED", "CISPO", "IMPORTANCE_SAMPLING" ]
    }
    parameters { name: "clip_low" type: TYPE_DOUBLE default_value: "0.2" }
    parameters { name: "aggregation" type: TYPE_ENUM choices: "TOKEN_MEAN" }
    metrics { name: "clip_fraction" description: "The share clipped." }
    tensors {
      name: "log_probs"
      role: ROLE_INPUT
      required: true
      differentiable: true
      default_wrt: true
      dtypes: [ DTYPE_FLOAT32, DTYPE_FLOAT64 ]
      shape_rule: "[B, T]"
    }
    tensors {
      name: "old_log_probs"
      role: ROLE_AUXILIARY
      required: true
      dtypes: [ DTYPE_FLOAT32, DTYPE_FLOAT64 ]
      shape_rule: "[B, T]"
    }
    tensors {
      name: "advantages"
      role: ROLE_AUXILIARY
      required: true
      dtypes: [ DTYPE_FLOAT32, DTYPE_FLOAT64 ]
      shape_rule: "[B, T] or [B]"
    }
    tensors {
      name: "mask"
      role: ROLE_MASK
      dtypes: [
        DTYPE_FLOAT32,
        DTYPE_FLOAT64,
        DTYPE_INT32,
        DTYPE_INT64,
        DTYPE_UINT8,
        DTYPE_BOOL
      ]
      shape_rule: "[B, T]"
    }
  }
  losses {
    name: "cross_entropy"
    summary: "Cross-entropy of logits."
    formula: "-log(softmax(input)[target])"
    denominator: "the sum of the weights of the targets"
    reductions: [ REDUCTION_NONE, REDUCTION_MEAN, REDUCTION_SUM ]
    default_reduction: REDUCTION_MEAN
    outputs: [
      OUTPUT_LOSS,
      OUTPUT_ELEMENTWISE_LOSSES,
      OUTPUT_GRADIENTS,
      OUTPUT_PROBABILITIES,
      OUTPUT_LOG_PROBABILITIES,
      OUTPUT_PREDICTED_CLASSES
    ]
    parameters {
      name: "ignore_index"
      type: TYPE_INT64
      default_value: "-100"
      description: "Targets of this class contribute nothing."
    }
    parameters {
      name: "label_smoothing"
      type: TYPE_DOUBLE
      default_value: "0"
      range: "[0, 1]"
      description: "The share spread over the classes."
    }
    tensors {
      name: "input"
      role: ROLE_INPUT
      required: true
      differentiable: true
      default_wrt: true
      dtypes: [ DTYPE_FLOAT16, DTYPE_BFLOAT16, DTYPE_FLOAT32, DTYPE_FLOAT64 ]
      shape_rule: "[C], [N, C] or [N, C, *]"
      description: "The logits."
    }
    tensors {
      name: "target"
      role: ROLE_TARGET
      required: true
      dtypes: [
        DTYPE_INT64,
        DTYPE_INT32,
        DTYPE_UINT8,
        DTYPE_FLOAT16,
        DTYPE_BFLOAT16,
        DTYPE_FLOAT32,
        DTYPE_FLOAT64
      ]
      shape_rule: "class indices: input's shape without C; or input's shape"
      description: "The classes."
    }
    tensors {
      name: "weight"
      role: ROLE_WEIGHT
      dtypes: [ DTYPE_FLOAT16, DTYPE_BFLOAT16, DTYPE_FLOAT32, DTYPE_FLOAT64 ]
      shape_rule: "[C]"
      description: "A weight for each class."
    }
  }
  losses {
    name: "nll_loss"
    reductions: [ REDUCTION_NONE, REDUCTION_MEAN, REDUCTION_SUM ]
    default_reduction: REDUCTION_MEAN
    outputs: [ OUTPUT_LOSS, OUTPUT_GRADIENTS ]
    tensors {
      name: "input"
      role: ROLE_INPUT
      required: true
      dtypes: DTYPE_FLOAT32
    }
    tensors {
      name: "target"
      role: ROLE_TARGET
      required: true
      dtypes: [ DTYPE_INT64, DTYPE_INT32, DTYPE_UINT8 ]
    }
  }
  losses {
    name: "triplet_margin_loss"
    reductions: [ REDUCTION_NONE, REDUCTION_MEAN, REDUCTION_SUM ]
    default_reduction: REDUCTION_MEAN
    outputs: [ OUTPUT_LOSS, OUTPUT_ELEMENTWISE_LOSSES, OUTPUT_GRADIENTS ]
    parameters { name: "margin" type: TYPE_DOUBLE default_value: "1" }
    parameters { name: "swap" type: TYPE_BOOL default_value: "false" }
    tensors {
      name: "anchor"
      role: ROLE_INPUT
      required: true
      differentiable: true
      default_wrt: true
      dtypes: [ DTYPE_FLOAT32, DTYPE_FLOAT64 ]
      shape_rule: "[D] or [*, D]"
    }
    tensors {
      name: "positive"
      role: ROLE_INPUT
      required: true
      differentiable: true
      default_wrt: true
      dtypes: [ DTYPE_FLOAT32, DTYPE_FLOAT64 ]
    }
    tensors {
      name: "negative"
      role: ROLE_INPUT
      required: true
      differentiable: true
      default_wrt: true
      dtypes: [ DTYPE_FLOAT32, DTYPE_FLOAT64 ]
    }
  }
)pb";

}  // namespace

std::vector<Attempt> FakeLossService::attempts() const {
  absl::MutexLock lock(&mutex_);
  return attempts_;
}

v1::ComputeGradientRequest FakeLossService::gradient_request() const {
  absl::MutexLock lock(&mutex_);
  return gradient_request_;
}

v1::ComputeLossRequest FakeLossService::loss_request() const {
  absl::MutexLock lock(&mutex_);
  return loss_request_;
}

void FakeLossService::Record(const std::string& method,
                             grpc::CallbackServerContext* context) {
  Attempt attempt = {.method = method,
                     .metadata = {},
                     .deadline = absl::FromChrono(context->deadline())};
  for (const auto& [key, value] : context->client_metadata()) {
    attempt.metadata[std::string(key.data(), key.size())] =
        std::string(value.data(), value.size());
  }
  absl::MutexLock lock(&mutex_);
  attempts_.push_back(std::move(attempt));
}

grpc::ServerUnaryReactor* FakeLossService::ComputeLoss(
    grpc::CallbackServerContext* context, const v1::ComputeLossRequest* request,
    v1::ComputeLossResponse* response) {
  Record("ComputeLoss", context);
  if (hold_losses) return new HeldCall(&cancelled_);
  {
    absl::MutexLock lock(&mutex_);
    loss_request_ = *request;
  }
  return Answer(context, on_loss ? on_loss(context, *request, response)
                                 : grpc::Status::OK);
}

grpc::ServerUnaryReactor* FakeLossService::ComputeGradient(
    grpc::CallbackServerContext* context,
    const v1::ComputeGradientRequest* request,
    v1::ComputeGradientResponse* response) {
  Record("ComputeGradient", context);
  {
    absl::MutexLock lock(&mutex_);
    gradient_request_ = *request;
  }
  return Answer(context, on_gradient ? on_gradient(context, *request, response)
                                     : grpc::Status::OK);
}

grpc::ServerUnaryReactor* FakeLossService::ListLosses(
    grpc::CallbackServerContext* context, const v1::ListLossesRequest*,
    v1::ListLossesResponse* response) {
  Record("ListLosses", context);
  *response = losses;
  return Answer(context, grpc::Status::OK);
}

grpc::ServerUnaryReactor* FakeLossService::GetServerInfo(
    grpc::CallbackServerContext* context, const v1::GetServerInfoRequest*,
    v1::GetServerInfoResponse* response) {
  Record("GetServerInfo", context);
  *response = info;
  return Answer(context, grpc::Status::OK);
}

FakeServer::FakeServer(int64_t max_message_bytes) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                           &port);
  builder.SetMaxReceiveMessageSize(static_cast<int>(max_message_bytes));
  builder.SetMaxSendMessageSize(static_cast<int>(max_message_bytes));
  builder.RegisterService(&service_);
  server_ = builder.BuildAndStart();
  address_ = absl::StrCat("127.0.0.1:", port);
}

FakeServer::~FakeServer() {
  server_->Shutdown(std::chrono::system_clock::now() +
                    std::chrono::milliseconds(200));
}

grpc::Status DetailedStatus(
    grpc::StatusCode code, const std::string& message,
    const std::string& reason,
    const std::vector<std::pair<std::string, std::string>>& violations,
    const std::map<std::string, std::string>& metadata,
    int retry_milliseconds) {
  google::rpc::Status status;
  status.set_code(code);
  status.set_message(message);
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("lossd.dev");
  info.mutable_metadata()->insert(metadata.begin(), metadata.end());
  status.add_details()->PackFrom(info);
  if (!violations.empty()) {
    google::rpc::BadRequest bad_request;
    for (const auto& [field, description] : violations) {
      auto* violation = bad_request.add_field_violations();
      violation->set_field(field);
      violation->set_description(description);
    }
    status.add_details()->PackFrom(bad_request);
  }
  if (retry_milliseconds > 0) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_nanos(retry_milliseconds * 1'000'000);
    status.add_details()->PackFrom(retry);
  }
  return grpc::Status(code, message, status.SerializeAsString());
}

v1::ListLossesResponse SomeLosses() {
  v1::ListLossesResponse losses;
  if (!google::protobuf::TextFormat::ParseFromString(kLosses, &losses)) {
    std::abort();
  }
  return losses;
}

}  // namespace lossd
