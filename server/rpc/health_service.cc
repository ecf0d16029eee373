// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/health_service.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grpc/health/v1/health.pb.h"
#include "server/rpc/message_bytes.h"

namespace lossd {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using ServingStatus = HealthCheckResponse::ServingStatus;

ServingStatus StatusOf(bool serving) {
  return serving ? HealthCheckResponse::SERVING
                 : HealthCheckResponse::NOT_SERVING;
}

MessageBytes ResponseOf(ServingStatus status) {
  HealthCheckResponse response;
  response.set_status(status);
  return SerializeMessage(response);
}

}  // namespace

class HealthService::CheckCall final : public CoreCall {
 public:
  CheckCall(HealthService* service, const ArrivedCall& arrived)
      : CoreCall(arrived), service_(*service) {}

 private:
  void OnStart() override { Read(); }

  void OnRead(MessageBytes message) override {
    HealthCheckRequest request;
    const grpc::Status parsed = ParseSmallRequest(message, &request);
    if (!parsed.ok()) {
      Finish(parsed);
    } else if (!service_.Knows(request.service())) {
      Finish(grpc::Status(
          grpc::StatusCode::NOT_FOUND,
          "this server has no service of that name; services and the empty "
          "name, which is the server, have a status."));
    } else {
      Finish(ResponseOf(StatusOf(service_.Serving())));
    }
  }

  HealthService& service_;
};

class HealthService::WatchCall final : public CoreCall {
 public:
  WatchCall(HealthService* service, const ArrivedCall& arrived)
      : CoreCall(arrived), service_(*service) {}

  // Does what is next: sends the status, or ends the call, which may then be
  // gone when this returns.
  void Proceed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(service_.mutex_) {
    if (writing_ || finished_) return;
    const ServingStatus status = known_ ? StatusOf(service_.serving_)
                                        : HealthCheckResponse::SERVICE_UNKNOWN;
    if (gone_) {
      End(grpc::Status::CANCELLED);
    } else if (told_ != status) {
      told_ = status;
      writing_ = true;
      Write(ResponseOf(status));
    } else if (service_.ending_) {
      End(grpc::Status(grpc::StatusCode::UNAVAILABLE,
                       "the server is shutting down: watch another replica."));
    }
  }

 private:
  void OnStart() override { Read(); }

  void OnRead(MessageBytes message) override {
    HealthCheckRequest request;
    const grpc::Status parsed = ParseSmallRequest(message, &request);
    if (!parsed.ok()) {
      Finish(parsed);
      return;
    }
    known_ = service_.Knows(request.service());
    {
      absl::MutexLock lock(&service_.mutex_);
      service_.watches_.insert(this);
      Proceed();
    }
    WatchCancellation();
  }

  void OnWritten(bool ok) override {
    absl::MutexLock lock(&service_.mutex_);
    writing_ = false;
    if (!ok) gone_ = true;
    Proceed();
  }

  void OnCancelled() override {
    absl::MutexLock lock(&service_.mutex_);
    gone_ = true;
    Proceed();
  }

  void End(const grpc::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(service_.mutex_) {
    finished_ = true;
    service_.watches_.erase(this);
    Finish(status);
  }

  HealthService& service_;
  bool known_ = false;
  // -1 before the first status is sent.
  int told_ ABSL_GUARDED_BY(service_.mutex_) = -1;
  bool writing_ ABSL_GUARDED_BY(service_.mutex_) = false;
  bool gone_ ABSL_GUARDED_BY(service_.mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(service_.mutex_) = false;
};

HealthService::HealthService(std::set<std::string> services)
    : services_(std::move(services)) {
  AddQueuedMethod(absl::StrCat("/", kName, "/Check"),
                  [this](const ArrivedCall& arrived) {
                    return std::make_shared<CheckCall>(this, arrived);
                  });
  AddQueuedMethod(absl::StrCat("/", kName, "/Watch"),
                  [this](const ArrivedCall& arrived) {
                    return std::make_shared<WatchCall>(this, arrived);
                  });
}

HealthService::~HealthService() = default;

bool HealthService::Knows(absl::string_view service) const {
  return service.empty() || services_.count(std::string(service)) > 0;
}

bool HealthService::Serving() {
  absl::MutexLock lock(&mutex_);
  return serving_;
}

void HealthService::SetServing(bool serving) {
  absl::MutexLock lock(&mutex_);
  serving_ = serving;
  Tell();
}

void HealthService::EndWatches() {
  absl::MutexLock lock(&mutex_);
  ending_ = true;
  Tell();
}

void HealthService::Tell() {
  // A watch that ends leaves the set.
  const std::vector<WatchCall*> watches(watches_.begin(), watches_.end());
  for (WatchCall* watch : watches) watch->Proceed();
}

}  // namespace lossd
