// SPDX-License-Identifier: Apache-2.0
//
// Every loss in process, on every kernel table of this CPU. A name is
//
//   LOSS/forward|gradient/SHAPE/TARGET/THREADS/kernel|call
//
// where `kernel` is the backend's Run alone, into memory that has been written
// before, and `call` is all that the engine does for an evaluation: the checks,
// the kernel, and fresh memory for the answer. bytes_per_second counts what
// must move at the least: each tensor read once, each gradient written once.
// Besides, what memory allows by as many threads:
//
//   memory/forward|gradient/FLOATS/TARGET/THREADS/kernel
//
// where `forward` reads, and `gradient` reads as much and writes as much past
// the caches. An argument LOSS/SHAPE adds a shape.

#include <benchmark/benchmark.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "benchmarks/loss_case.h"
#include "benchmarks/memory_bandwidth.h"
#include "server/engine/cpu_backend.h"
#include "server/engine/engine.h"
#include "server/kernels/cpu/cpu_kernels.h"
#include "server/losses/loss.h"
#include "server/rpc/process_setup.h"

namespace lossd {
namespace {

// One benchmark.
struct Point {
  const LossDefinition* loss;
  Shape shape;
  bool gradient;
  std::string target;
  int threads;
  bool call;

  std::string Name() const {
    return absl::StrCat(loss->schema.name,
                        gradient ? "/gradient/" : "/forward/", ShapeText(shape),
                        "/", target, "/", threads, call ? "/call" : "/kernel");
  }
};

// The most memory that the answer may take: the largest case's three gradients.
EngineLimits Limits() {
  EngineLimits limits;
  limits.max_response_bytes = int64_t{4} << 30;
  limits.max_scratch_bytes = int64_t{4} << 30;
  return limits;
}

// Measures points. Keeps the tensors and the engine of the last one, which the
// next one often shares.
class Meter {
 public:
  void Run(const Point& point, benchmark::State& state) {
    const Evaluation& evaluation = CaseOf(point);
    const Engine& engine = EngineOf(point);
    std::unique_ptr<Task> task = RunOnce(engine, evaluation);
    if (task == nullptr) {
      state.SkipWithError("the evaluation is refused");
      return;
    }
    if (point.call) {
      task.reset();
      for (auto _ : state) {
        benchmark::DoNotOptimize(RunOnce(engine, evaluation));
      }
    } else {
      Job* const jobs[] = {&task->job};
      for (auto _ : state) {
        task->job.findings = {};
        task->backend->Run(jobs, [](const Completion&) {});
        benchmark::ClobberMemory();
      }
    }
    state.SetBytesProcessed(state.iterations() *
                            LeastBytes(evaluation, point.gradient));
    state.SetItemsProcessed(state.iterations() *
                            evaluation.arguments.tensor(0).elements);
  }

 private:
  static std::unique_ptr<Task> RunOnce(const Engine& engine,
                                       const Evaluation& evaluation) {
    Violations violations;
    std::unique_ptr<Task> task = engine.Prepare(evaluation, &violations);
    if (task == nullptr) return nullptr;
    Task* const tasks[] = {task.get()};
    engine.Run(tasks);
    if (!task->violations.empty()) return nullptr;
    return task;
  }

  const Evaluation& CaseOf(const Point& point) {
    Evaluation& evaluation = case_.evaluation;
    if (evaluation.loss != point.loss ||
        evaluation.arguments.tensor(0).shape != point.shape) {
      case_ = LossCase();
      case_ = MakeLossCase(*point.loss, point.shape);
    }
    evaluation.gradient = point.gradient;
    return evaluation;
  }

  const Engine& EngineOf(const Point& point) {
    if (engine_ == nullptr || engine_threads_ != point.threads ||
        engine_->backends()[0]->devices()[0].target != point.target) {
      std::vector<std::unique_ptr<Backend>> backends;
      backends.push_back(MakeCpuBackend(point.threads, point.target).value());
      engine_ = std::make_unique<Engine>(Limits(), std::move(backends),
                                         DeviceClass::kCpu);
      engine_threads_ = point.threads;
    }
    return *engine_;
  }

  LossCase case_;
  std::unique_ptr<Engine> engine_;
  int engine_threads_ = 0;
};

void AddPoints(const LossDefinition* loss, const Shape& shape,
               std::vector<Point>* points) {
  for (bool gradient : {false, true}) {
    for (const KernelTable& table : CpuKernels()) {
      for (int threads : {1, 2}) {
        for (bool call : {false, true}) {
          points->push_back(
              {loss, shape, gradient, table.target, threads, call});
        }
      }
    }
  }
}

std::vector<Point> AllPoints() {
  std::vector<Point> points;
  for (const LossDefinition* loss : AllLosses()) {
    for (const Shape& shape : MeasuredShapes(*loss)) {
      AddPoints(loss, shape, &points);
    }
  }
  return points;
}

// Those of `text`, LOSS/SHAPE; false if it is something else.
bool AddNamedPoints(absl::string_view text, std::vector<Point>* points) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(text, absl::MaxSplits('/', 1));
  const std::optional<Shape> shape = ParseShape(parts.second);
  for (const LossDefinition* loss : AllLosses()) {
    if (loss->schema.name != parts.first || !shape.has_value()) continue;
    AddPoints(loss, *shape, points);
    return true;
  }
  return false;
}

// As many floats as the largest case of cross_entropy has.
constexpr int64_t kMemoryFloats = int64_t{2048} * 32000;

void RunMemory(int threads, bool gradient, benchmark::State& state) {
  MemoryBandwidth memory(kMemoryFloats * 4, threads);
  for (auto _ : state) {
    if (gradient) {
      memory.ReadAndWrite();
    } else {
      memory.Read();
    }
  }
  state.SetBytesProcessed(state.iterations() * memory.bytes() *
                          (gradient ? 2 : 1));
  state.SetItemsProcessed(state.iterations() * kMemoryFloats);
}

void RegisterMemory() {
  for (int threads : {1, 2}) {
    for (bool gradient : {false, true}) {
      const std::string name = absl::StrCat(
          "memory/", gradient ? "gradient/" : "forward/", kMemoryFloats, "/",
          CpuKernels()[0].target, "/", threads, "/kernel");
      benchmark::RegisterBenchmark(
          name.c_str(),
          [threads, gradient](benchmark::State& state) {
            RunMemory(threads, gradient, state);
          })
          ->UseRealTime()
          ->Unit(benchmark::kMicrosecond);
    }
  }
}

int Main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  std::vector<Point> points = AllPoints();
  for (int i = 1; i < argc; ++i) {
    if (AddNamedPoints(argv[i], &points)) continue;
    benchmark::ReportUnrecognizedArguments(argc, argv);
    return 2;
  }
  RegisterMemory();
  Meter meter;
  for (Point& point : points) {
    const std::string name = point.Name();
    benchmark::RegisterBenchmark(
        name.c_str(), [&meter, point = std::move(point)](
                          benchmark::State& state) { meter.Run(point, state); })
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace
}  // namespace lossd

int main(int argc, char** argv) { return lossd::Main(argc, argv); }
