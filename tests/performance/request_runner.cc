// SPDX-License-Identifier: Apache-2.0
//
// Takes small requests from gRPC's slices to those of the answer, inside
// lossd_measured_request, for a tool that counts what that function does:
//
//   request_runner
//
// prints how many requests it took there. Exits with 77 where the CPU, or the
// tool's, has no AVX2.

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/engine/cpu_backend.h"
#include "server/engine/engine.h"
#include "server/rpc/answer_writer.h"
#include "server/rpc/request_decoder.h"

namespace lossd {
namespace {

constexpr int kRequests = 100;

// cross_entropy of 4x10 logits, with its gradient.
std::string RequestText() {
  v1::ComputeGradientRequest request;
  v1::CrossEntropy* loss =
      request.mutable_evaluation()->mutable_cross_entropy();
  const std::vector<int64_t> classes = {1, 2, 3, 4};
  loss->mutable_target()->set_dtype(v1::DTYPE_INT64);
  loss->mutable_target()->add_shape(4);
  loss->mutable_target()->set_data(classes.data(), 4 * sizeof(int64_t));
  const std::vector<float> logits(40, 0.5f);
  loss->mutable_input()->set_dtype(v1::DTYPE_FLOAT32);
  loss->mutable_input()->add_shape(4);
  loss->mutable_input()->add_shape(10);
  loss->mutable_input()->set_data(logits.data(), 40 * sizeof(float));
  return request.SerializeAsString();
}

}  // namespace

struct Path {
  const Engine& engine;
  const RequestDecoder& decoder;
  const AnswerWriter& writer;
};

}  // namespace lossd

// The tool finds it by its name.
extern "C" __attribute__((noinline)) int64_t lossd_measured_request(
    const lossd::Path& path, const lossd::MessageBytes& request) {
  lossd::DecodedRequest decoded;
  if (!path.decoder.Decode(request, true, {}, path.engine.pool(), &decoded)) {
    return 0;
  }
  lossd::Violations violations;
  const std::unique_ptr<lossd::Task> task =
      path.engine.Prepare(std::move(decoded.evaluation), &violations);
  if (task == nullptr) return 0;
  lossd::Task* const tasks[] = {task.get()};
  path.engine.Run(tasks);
  lossd::MessageBuilder message;
  path.writer.Write(*task, false, {}, {}).AppendTo(&message);
  return message.Build().size();
}

int main() {
  using namespace lossd;
  auto backend = MakeCpuBackend(1, "AVX2");
  if (!backend.ok()) {
    std::fprintf(stderr, "skipped: no AVX2\n");
    return 77;
  }
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(*std::move(backend));
  const Engine engine(EngineLimits(), std::move(backends), DeviceClass::kCpu);
  const auto binding =
      WireBinding::Create(AllLosses(), *v1::Evaluation::descriptor());
  if (!binding.ok()) return 1;
  const RequestDecoder decoder(&*binding, 16);
  const AnswerWriter writer({"0.1.0", "test"}, engine);
  MessageBuilder request;
  request.Append(RequestText());
  const MessageBytes bytes = request.Build();
  const Path path = {engine, decoder, writer};
  for (int i = 0; i < kRequests; ++i) {
    if (lossd_measured_request(path, bytes) == 0) return 1;
  }
  std::printf("%d\n", kRequests);
  return 0;
}
