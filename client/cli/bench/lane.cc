// SPDX-License-Identifier: Apache-2.0
#include "client/cli/bench/lane.h"

#include <sys/prctl.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <thread>

#include "absl/strings/str_cat.h"
#include "lossd/error.h"

namespace lossd::cli {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;

// A point of NowNs() for completion queues.
gpr_timespec ToTimespec(int64_t ns) {
  gpr_timespec time;
  time.tv_sec = ns / kSecondNs;
  time.tv_nsec = static_cast<int32_t>(ns % kSecondNs);
  time.clock_type = GPR_CLOCK_MONOTONIC;
  return time;
}

std::chrono::steady_clock::time_point ToTimePoint(int64_t ns) {
  return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(ns));
}

}  // namespace

int64_t NowNs() {
  return std::chrono::nanoseconds(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

Lane::Lane(const LoadPlan& plan, size_t number)
    : plan_(plan),
      open_loop_(plan.options.calls_per_s.has_value()),
      next_payload_(number),
      next_stub_(number) {}

Lane::Call* Lane::NewCall() {
  calls_.push_back(std::make_unique<Call>());
  return calls_.back().get();
}

void Lane::Start(Call* call, int64_t start_ns) {
  call->payload = next_payload_++ % plan_.payloads.size();
  const grpc::ByteBuffer& bytes = plan_.payloads[call->payload];
  call->start_ns = start_ns;
  call->answer.Clear();
  call->reader.reset();
  call->context.emplace();
  if (plan_.options.announce) {
    call->context->AddMetadata("lossd-request-bytes",
                               absl::StrCat(bytes.Length()));
  }
  call->reader =
      plan_.stubs[next_stub_++ % plan_.stubs.size()]->PrepareUnaryCall(
          &*call->context, plan_.options.method, bytes, &queue_);
  call->reader->StartCall();
  call->reader->Finish(&call->answer, &call->status, call);
}

void Lane::Count(const Call& call, int64_t now_ns) {
  ++counted_.all_calls;
  const LoadWindow& window = plan_.window;
  const bool ended_inside = now_ns >= window.begin_ns && now_ns < window.end_ns;
  const bool measured =
      open_loop_ ? call.start_ns >= window.begin_ns : ended_inside;
  if (!call.status.ok()) {
    if (!measured) return;
    const absl::Status status = ToAbslStatus(call.status);
    CountError(absl::StatusCodeToString(status.code()),
               std::string(status.message()));
    return;
  }
  if (plan_.check != nullptr) {
    const std::string wrong = plan_.check(call.payload, call.answer);
    if (!wrong.empty()) {
      if (measured) CountError("WRONG_ANSWER", wrong);
      return;
    }
  }
  if (measured) counted_.latency.Record(now_ns - call.start_ns);
  if (!ended_inside) return;
  ++counted_.calls;
  counted_.request_bytes +=
      static_cast<int64_t>(plan_.payloads[call.payload].Length());
  counted_.answer_bytes += static_cast<int64_t>(call.answer.Length());
}

void Lane::CountError(const std::string& code, const std::string& message) {
  LoadReport::Failures& failures = counted_.errors[code];
  if (failures.count++ == 0) failures.first_message = message;
}

void Lane::CancelAll() {
  for (const auto& call : calls_) {
    if (call->context.has_value()) call->context->TryCancel();
  }
}

void Lane::RunClosed(int concurrency) {
  for (int i = 0; i < concurrency; ++i) Start(NewCall(), NowNs());
  int open = concurrency;
  gpr_timespec give_up = ToTimespec(plan_.window.give_up_ns);
  void* tag = nullptr;
  bool ok = false;
  while (open > 0) {
    if (queue_.AsyncNext(&tag, &ok, give_up) ==
        grpc::CompletionQueue::TIMEOUT) {
      CancelAll();
      give_up = gpr_inf_future(GPR_CLOCK_MONOTONIC);
      continue;
    }
    auto* call = static_cast<Call*>(tag);
    const int64_t now_ns = NowNs();
    Count(*call, now_ns);
    if (now_ns < plan_.window.end_ns) {
      Start(call, now_ns);
    } else {
      --open;
    }
  }
}

void Lane::RunOpen(Pacer pacer) {
  pacer_.emplace(pacer);
  std::thread starter([this] { StartCalls(); });
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
    auto* call = static_cast<Call*>(tag);
    Count(*call, NowNs());
    call->answer.Clear();
    const std::lock_guard<std::mutex> lock(mutex_);
    // The starter waits for nothing else than these two.
    if (pacer_->full() || pacer_->next_ns() == Pacer::kNever) {
      ended_.notify_one();
    }
    pacer_->End();
    idle_.push_back(call);
  }
  starter.join();
}

void Lane::StartCalls() {
  // A sleep of this thread ends when it is over, not up to 50 µs later.
  prctl(PR_SET_TIMERSLACK, 1);
  const auto give_up = ToTimePoint(plan_.window.give_up_ns);
  std::unique_lock<std::mutex> lock(mutex_);
  while (pacer_->next_ns() != Pacer::kNever) {
    if (NowNs() >= plan_.window.give_up_ns) break;
    if (pacer_->full()) {
      ended_.wait_until(lock, give_up);
      continue;
    }
    const std::optional<int64_t> intended_ns = pacer_->Start(NowNs());
    if (!intended_ns.has_value()) {
      const int64_t next_ns = pacer_->next_ns();
      lock.unlock();
      SleepUntil(next_ns);
      lock.lock();
      continue;
    }
    if (idle_.empty()) idle_.push_back(NewCall());
    Call* call = idle_.back();
    idle_.pop_back();
    lock.unlock();
    Start(call, *intended_ns);
    lock.lock();
  }
  counted_.not_started = pacer_->left();
  ended_.wait_until(lock, give_up, [this] { return pacer_->open() == 0; });
  const bool cancel = pacer_->open() > 0;
  lock.unlock();
  if (cancel) CancelAll();
  queue_.Shutdown();
}

void Lane::SleepUntil(int64_t ns) const {
  timespec time;
  time.tv_sec = static_cast<time_t>(ns / kSecondNs);
  time.tv_nsec = static_cast<long>(ns % kSecondNs);
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nullptr);
}

void Lane::AddTo(LoadReport* report) const {
  report->calls += counted_.calls;
  report->request_bytes += counted_.request_bytes;
  report->answer_bytes += counted_.answer_bytes;
  report->latency.Merge(counted_.latency);
  report->not_started += counted_.not_started;
  report->all_calls += counted_.all_calls;
  for (const auto& [code, failures] : counted_.errors) {
    LoadReport::Failures& all = report->errors[code];
    if (all.count == 0) all.first_message = failures.first_message;
    all.count += failures.count;
  }
}

}  // namespace lossd::cli
