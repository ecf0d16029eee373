// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_SERVICE_CALL_H_
#define LOSSD_SERVER_RPC_SERVICE_CALL_H_

#include "server/rpc/core_call.h"
#include "server/rpc/loss_service.h"
#include "server/rpc/status.h"

namespace lossd {

// A call of LossService, from its headers on: counted, or refused.
//
// gRPC tells of a unary method's call when the whole request has arrived, and
// when a shutdown begins it kills the calls whose requests are still on their
// way: their callers get CANCELLED. It tells of a stream when the headers have
// arrived, and lets it end. So the unary methods are registered as streams,
// which look the same on the wire.
class LossService::ServiceCall : public CoreCall {
 public:
  ServiceCall(LossService* service, Method method, const ArrivedCall& arrived)
      : CoreCall(arrived), service_(*service), method_(method) {
    // Counted first: whoever refuses calls and then sees none in flight knows
    // that there will be none.
    service_.recorder_.OnArrival();
  }
  ~ServiceCall() override { service_.recorder_.OnGone(); }

 protected:
  void OnStart() override {
    if (!service_.refusing_.load()) {
      OnAdmitted();
      return;
    }
    const grpc::Status status =
        ReasonStatus(grpc::StatusCode::UNAVAILABLE, Reason::kDraining,
                     "the server is shutting down: another replica can answer.",
                     absl::ZeroDuration(), {"", service_.identity_.version});
    service_.recorder_.OnFailure(method_, "", Header("traceparent"), status,
                                 Reason::kDraining, "", "");
    Finish(status);
  }

  // The call is not refused; requests follow where they are read.
  virtual void OnAdmitted() { Read(); }

  // Counts and logs that a request of this call cannot be parsed. What to end
  // the call with.
  grpc::Status RecordMalformed() {
    const grpc::Status status = MalformedStatus();
    Record(status, Reason::kMalformedRequest);
    return status;
  }

  // Ends a call whose caller sent no request, or went away before: which of
  // the two is known, counted and logged once the call has ended.
  void FinishWithoutRequest() {
    without_request_ = true;
    Finish(MalformedStatus());
  }

  void OnFinished(bool cancelled) override {
    if (!without_request_) return;
    if (cancelled) {
      Record({grpc::StatusCode::CANCELLED, "the caller has gone away"},
             Reason::kCancelled);
    } else {
      Record(MalformedStatus(), Reason::kMalformedRequest);
    }
  }

  LossService& service_;
  const Method method_;

 private:
  grpc::Status MalformedStatus() const {
    return ViolationsStatus(Malformed(method_),
                            {"", service_.identity_.version});
  }
  void Record(const grpc::Status& status, Reason reason) {
    service_.recorder_.OnFailure(method_, "", Header("traceparent"), status,
                                 reason, "",
                                 service_.recorder_.MakeRequestId());
  }

  bool without_request_ = false;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_SERVICE_CALL_H_
