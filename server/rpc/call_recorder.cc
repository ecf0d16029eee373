// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/call_recorder.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "server/rpc/status.h"

namespace lossd {
namespace {

ServerMetricsLabels MakeLabels(const WireBinding& binding,
                               const Engine& engine) {
  ServerMetricsLabels labels;
  for (const BoundLoss& loss : binding.losses()) {
    labels.losses.emplace_back(loss.schema().name);
  }
  for (size_t i = 0; i < std::size(kMethodPaths); ++i) {
    labels.methods.emplace_back(MethodName(static_cast<Method>(i)));
  }
  for (const auto& backend : engine.backends()) {
    for (const DeviceDescription& device : backend->devices()) {
      labels.devices.push_back(device.name);
    }
  }
  // By number, so that a reason is its own index.
  for (int reason = 0; reason <= static_cast<int>(kLastReason); ++reason) {
    labels.rejection_reasons.emplace_back(
        ReasonName(static_cast<Reason>(reason)));
  }
  return labels;
}

}  // namespace

CallRecorder::CallRecorder(const WireBinding& binding, const Engine& engine,
                           absl::string_view version, MetricFactory& factory,
                           Log& log)
    : metrics_(factory, MakeLabels(binding, engine),
               {.version = std::string(version),
                .numerics_version = kNumericsVersion,
                .target = engine.backends().empty()
                              ? ""
                              : engine.backends()[0]->devices()[0].target}),
      log_(log),
      id_prefix_(
          absl::StrCat(absl::Hex(std::random_device()(), absl::kZeroPad8))) {
  for (const BoundLoss& loss : binding.losses()) {
    losses_.push_back(loss.schema().name);
  }
  int first = 0;
  for (const auto& backend : engine.backends()) {
    first_devices_.emplace_back(backend.get(), first);
    first += static_cast<int>(backend->devices().size());
  }
}

int CallRecorder::LossIndex(absl::string_view loss) const {
  const auto found = std::lower_bound(losses_.begin(), losses_.end(), loss);
  return found != losses_.end() && *found == loss
             ? static_cast<int>(found - losses_.begin())
             : ServerMetrics::kNoLoss;
}

void CallRecorder::OnArrival() {
  metrics_.in_flight().Add(1);
  in_flight_.fetch_add(1);
}

void CallRecorder::OnGone() {
  metrics_.in_flight().Add(-1);
  in_flight_.fetch_sub(1);
}

void CallRecorder::OnAnswer(Method method, absl::string_view loss) {
  metrics_.OnRequest(LossIndex(loss), static_cast<int>(method),
                     absl::StatusCode::kOk);
}

void CallRecorder::OnFailure(Method method, absl::string_view loss,
                             absl::string_view traceparent,
                             const grpc::Status& status, Reason reason,
                             absl::string_view field,
                             absl::string_view request_id) {
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  metrics_.OnRequest(LossIndex(loss), static_cast<int>(method), code);
  metrics_.OnRejection(static_cast<int>(reason));
  const LogLevel level = code == absl::StatusCode::kInternal
                             ? LogLevel::kError
                             : LogLevel::kWarning;
  log_.Event(level, "request_failed",
             {{"method", MethodName(method)},
              {"loss", loss},
              {"code", absl::StatusCodeToString(code)},
              {"reason", ReasonName(reason)},
              {"field", field},
              {"request_id", request_id},
              {"traceparent", traceparent}});
}

void CallRecorder::OnComputed(absl::Span<const Task* const> tasks,
                              absl::Duration computing) {
  int first = 0;
  for (const auto& [backend, first_device] : first_devices_) {
    if (backend == tasks[0]->backend) first = first_device;
  }
  // Of each loss on each device in the batch, of which there are few.
  struct Share {
    int loss;
    int device;
    double operations;
  };
  absl::InlinedVector<Share, 4> shares;
  double total = 0;
  for (const Task* task : tasks) {
    const int loss = LossIndex(task->evaluation.loss->schema.name);
    const int device = first + static_cast<int>(task->device);
    const double cost = task->cost.operations + 1;
    const auto found =
        std::find_if(shares.begin(), shares.end(), [&](const Share& each) {
          return each.loss == loss && each.device == device;
        });
    if (found != shares.end()) {
      found->operations += cost;
    } else {
      shares.push_back({loss, device, cost});
    }
    total += cost;
    if (task->result.non_finite.result_nan ||
        task->result.non_finite.result_infinity) {
      metrics_.OnNonFiniteResult(loss);
    }
  }
  for (const Share& share : shares) {
    metrics_.OnComputed(share.loss, share.device,
                        computing * (share.operations / total));
  }
}

std::string CallRecorder::MakeRequestId() {
  return absl::StrCat(id_prefix_, "-", ++last_id_);
}

void CallRecorder::SetQueue(int requests, int64_t bytes) {
  metrics_.queue_requests().Set(requests);
  metrics_.queue_bytes().Set(static_cast<double>(bytes));
}

void CallRecorder::RefreshDevices() {
  for (const auto& [backend, first] : first_devices_) {
    for (size_t i = 0; i < backend->devices().size(); ++i) {
      metrics_.SetInService(first + static_cast<int>(i), backend->InService(i));
    }
  }
}

void CallRecorder::OnBatch(int requests, int64_t units) {
  metrics_.OnBatch(requests, units);
}

void CallRecorder::OnQueued(absl::Duration queued) {
  metrics_.OnQueued(queued);
}

void CallRecorder::OnDropped(DropReason reason, DropStage stage) {
  if (reason != DropReason::kCancelled &&
      reason != DropReason::kDeadlineExceeded) {
    return;
  }
  metrics_.OnDropped(
      stage == DropStage::kSubmit ? ServerMetrics::Stage::kArrival
      : stage == DropStage::kForm ? ServerMetrics::Stage::kQueue
                                  : ServerMetrics::Stage::kRun,
      reason == DropReason::kCancelled ? ServerMetrics::Why::kCancelled
                                       : ServerMetrics::Why::kExpired);
}

}  // namespace lossd
