// SPDX-License-Identifier: Apache-2.0
//
// What a large request costs in memory, counted where memory is asked for and
// copied: from gRPC's slices to the slices of the answer. gRPC itself, before
// and after, is not looked at.

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/engine/cpu_backend.h"
#include "server/engine/engine.h"
#include "server/rpc/answer_writer.h"
#include "server/rpc/request_decoder.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LOSSD_SANITIZED 1
#endif

namespace {

constexpr size_t kLargeAllocation = 4096;
// Smaller copies are those of fields and of what the request is described by.
constexpr size_t kLargeCopy = 1024;

std::atomic<bool> counting = false;
std::atomic<int64_t> large_allocations = 0;
std::atomic<int64_t> copied_bytes = 0;

[[maybe_unused]] void CountAllocation(size_t bytes) {
  if (counting.load() && bytes > kLargeAllocation) large_allocations += 1;
}
[[maybe_unused]] void CountCopy(size_t bytes) {
  if (counting.load() && bytes >= kLargeCopy) {
    copied_bytes += static_cast<int64_t>(bytes);
  }
}

}  // namespace

#ifndef LOSSD_SANITIZED
extern "C" {
void* __libc_malloc(size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);

// These take the place of the C library's for the whole process.
void* malloc(size_t bytes) {
  CountAllocation(bytes);
  return __libc_malloc(bytes);
}
void* aligned_alloc(size_t alignment, size_t bytes) {
  CountAllocation(bytes);
  return __libc_memalign(alignment, bytes);
}
void* memcpy(void* to, const void* from, size_t bytes) {
  CountCopy(bytes);
  void* const result = to;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
  return result;
}
void* memmove(void* to, const void* from, size_t bytes) {
  auto* target = static_cast<char*>(to);
  const auto* source = static_cast<const char*>(from);
  if (target <= source || target >= source + bytes) {
    return memcpy(to, from, bytes);
  }
  CountCopy(bytes);
  target += bytes - 1;
  source += bytes - 1;
  asm volatile("std\n\trep movsb\n\tcld"
               : "+D"(target), "+S"(source), "+c"(bytes)
               :
               : "memory");
  return to;
}
}  // extern "C"
#endif

namespace lossd {
namespace {

constexpr int64_t kRows = 32;
constexpr int64_t kClasses = 32000;
// As gRPC delivers a message: by frames of HTTP/2.
constexpr size_t kSliceBytes = 16384;

std::string RequestText() {
  v1::ComputeGradientRequest request;
  v1::CrossEntropy* loss =
      request.mutable_evaluation()->mutable_cross_entropy();
  v1::Tensor* target = loss->mutable_target();
  target->set_dtype(v1::DTYPE_INT64);
  target->add_shape(kRows);
  std::vector<int64_t> classes(kRows, 7);
  target->set_data(classes.data(), classes.size() * sizeof(int64_t));
  v1::Tensor* input = loss->mutable_input();
  input->set_dtype(v1::DTYPE_FLOAT32);
  input->add_shape(kRows);
  input->add_shape(kClasses);
  std::vector<float> logits(kRows * kClasses);
  for (size_t i = 0; i < logits.size(); ++i) {
    logits[i] = static_cast<float>(i % 17) * 0.25f;
  }
  input->set_data(logits.data(), logits.size() * sizeof(float));
  return request.SerializeAsString();
}

MessageBytes InSlices(const std::string& text) {
  std::vector<grpc_slice> slices;
  for (size_t i = 0; i < text.size(); i += kSliceBytes) {
    const size_t size = std::min(kSliceBytes, text.size() - i);
    slices.push_back(grpc_slice_from_copied_buffer(text.data() + i, size));
  }
  MessageBytes message(
      grpc_raw_byte_buffer_create(slices.data(), slices.size()));
  for (const grpc_slice& slice : slices) grpc_slice_unref(slice);
  return message;
}

class RequestPathTest : public testing::Test {
 protected:
  RequestPathTest()
      : binding_(WireBinding::Create(AllLosses(), *v1::Evaluation::descriptor())
                     .value()),
        decoder_(&binding_, 16),
        engine_(MakeEngine()),
        writer_({"0.1.0", "test"}, engine_),
        text_(RequestText()) {}

  static Engine MakeEngine() {
    std::vector<std::unique_ptr<Backend>> backends;
    backends.push_back(MakeCpuBackend(2, "").value());
    return Engine(EngineLimits(), std::move(backends), DeviceClass::kCpu);
  }

  // From the slices of a request to those of its answer.
  MessageBytes Answer(MessageBytes request) {
    DecodedRequest decoded;
    EXPECT_TRUE(decoder_.Decode(request, true, {}, engine_.pool(), &decoded));
    request = MessageBytes();
    Violations violations;
    const std::unique_ptr<Task> task =
        engine_.Prepare(std::move(decoded.evaluation), &violations);
    EXPECT_NE(task, nullptr);
    Task* const tasks[] = {task.get()};
    engine_.Run(tasks);
    MessageBuilder message;
    writer_.Write(*task, false, {}, {}).AppendTo(&message);
    return message.Build();
  }

  const WireBinding binding_;
  const RequestDecoder decoder_;
  const Engine engine_;
  const AnswerWriter writer_;
  const std::string text_;
};

TEST_F(RequestPathTest, ALargeRequestIsCopiedOnceAndAllocatesNothingLarge) {
#ifdef LOSSD_SANITIZED
  GTEST_SKIP() << "sanitizers have an allocator of their own";
#endif
  // Until all threads have computed at a time, each with memory of its own.
  for (int i = 0; i < 100; ++i) Answer(InSlices(text_));
  const int64_t made = engine_.pool().GetStats().made;
  MessageBytes request = InSlices(text_);
  large_allocations = 0;
  copied_bytes = 0;
  counting = true;
  const MessageBytes answer = Answer(std::move(request));
  counting = false;
  EXPECT_GT(answer.size(), kRows * kClasses * 4);
  RecordProperty("copied_bytes", static_cast<int>(copied_bytes.load()));
  EXPECT_EQ(large_allocations.load(), 0);
  EXPECT_EQ(engine_.pool().GetStats().made, made)
      << "a buffer was not found in the pool";
  EXPECT_LE(copied_bytes.load(), static_cast<int64_t>(text_.size()));
  // It counts at all.
  EXPECT_GE(copied_bytes.load(), kRows * kClasses * 4 * 9 / 10);
}

}  // namespace
}  // namespace lossd
