// SPDX-License-Identifier: Apache-2.0
//
// Runs a kernel once, inside lossd_measured_kernel, for a tool that counts what
// that function does:
//
//   kernel_runner LOSS forward|gradient
//
// prints the elements of the leading tensor. Exits with 77 where the CPU, or
// the tool's, has no AVX2.

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "server/base/aligned_buffer.h"
#include "server/engine/cpu_backend.h"
#include "server/engine/engine.h"
#include "server/losses/loss.h"

// The tool finds it by its name.
extern "C" __attribute__((noinline)) void lossd_measured_kernel(
    lossd::Backend* backend, lossd::Job* job) {
  lossd::Job* const jobs[] = {job};
  backend->Run(jobs, [](const lossd::Completion&) {});
}

namespace lossd {
namespace {

// 16 rows of 4096 classes, or as many elements; the same for every run.
constexpr int64_t kRows = 16;
constexpr int64_t kClasses = 4096;
constexpr int64_t kElements = kRows * kClasses;

TensorView Tensor(Dtype dtype, Shape shape,
                  std::vector<AlignedBuffer>* memory) {
  TensorView view;
  view.dtype = dtype;
  view.elements = ElementCount(shape).value();
  view.shape = std::move(shape);
  AlignedBuffer data(view.elements * DtypeSize(dtype));
  for (int64_t i = 0; i < view.elements; ++i) {
    if (dtype == Dtype::kInt64) {
      reinterpret_cast<int64_t*>(data.data())[i] = i * 257 % kClasses;
    } else {
      // In [0, 8), or for a target in [0, 1).
      const float range = memory->empty() ? 8.0f : 1.0f;
      reinterpret_cast<float*>(data.data())[i] =
          range * static_cast<float>(i * 7919 % 8191) / 8191.0f;
    }
  }
  view.data = data.data();
  memory->push_back(std::move(data));
  return view;
}

int Run(const char* name, bool gradient) {
  const LossDefinition* loss = FindLoss(name);
  auto backend = MakeCpuBackend(1, "AVX2");
  if (!backend.ok()) {
    std::fprintf(stderr, "skipped: no AVX2\n");
    return 77;
  }
  if (loss == nullptr) return 2;
  std::vector<AlignedBuffer> memory;
  Evaluation evaluation;
  evaluation.loss = loss;
  evaluation.gradient = gradient;
  evaluation.arguments.parameters.resize(loss->schema.parameters.size());
  const bool classes =
      absl::StrContains(loss->schema.tensors[0].shape_rule, "C");
  const Shape lead = classes ? Shape{kRows, kClasses} : Shape{kElements};
  auto& tensors = evaluation.arguments.tensors;
  tensors[0] = Tensor(Dtype::kFloat32, lead, &memory);
  tensors[1] = classes ? Tensor(Dtype::kInt64, {kRows}, &memory)
                       : Tensor(Dtype::kFloat32, lead, &memory);

  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(*std::move(backend));
  const Engine engine(EngineLimits(), std::move(backends), DeviceClass::kCpu);
  Violations violations;
  std::unique_ptr<Task> task = engine.Prepare(evaluation, &violations);
  if (task == nullptr) return 2;
  // Allocates what the kernel writes.
  Task* const tasks[] = {task.get()};
  engine.Run(tasks);
  lossd_measured_kernel(task->backend, &task->job);
  std::printf("%lld\n", static_cast<long long>(kElements));
  return 0;
}

}  // namespace
}  // namespace lossd

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  return lossd::Run(argv[1], std::strcmp(argv[2], "gradient") == 0);
}
