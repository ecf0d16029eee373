// SPDX-License-Identifier: Apache-2.0
//
// The bits of an answer are a function of the evaluation alone: the same for
// every instruction set, number of threads and batch.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/cpu_backend.h"
#include "server/engine/engine.h"
#include "server/kernels/cpu/cpu_kernels.h"
#include "tests/conformance/golden_case.h"
#include "tests/conformance/random_case.h"

namespace lossd {
namespace {

Engine MakeEngine(int threads, const std::string& target,
                  int64_t grain = kDefaultGrain) {
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(MakeCpuBackend(threads, target, grain).value());
  return Engine(EngineLimits(), std::move(backends), DeviceClass::kCpu);
}

// Every bit of an answer, by FNV-1a.
class Digest {
 public:
  void Add(const void* data, size_t size) {
    const auto* bytes = static_cast<const uint8_t*>(data);
    for (size_t i = 0; i < size; ++i) {
      hash_ = (hash_ ^ bytes[i]) * 0x100000001b3u;
    }
  }
  void Add(double value) { Add(&value, sizeof(value)); }
  void Add(const OwnedTensor& tensor) {
    Add(tensor.data.data(), static_cast<size_t>(tensor.data.size()));
  }
  void Add(const Result& result) {
    Add(std::isnan(*result.mean_numerator) ? 0.5 : *result.mean_numerator);
    Add(result.mean_denominator);
    Add(result.loss_tensor);
    Add(result.elementwise_losses);
    Add(result.probabilities);
    Add(result.log_probabilities);
    Add(result.predicted_classes);
    for (const GradientValue& gradient : result.gradients) Add(gradient.value);
    for (const MetricValue& metric : result.metrics) {
      Add(std::isnan(metric.numerator) ? 0.5 : metric.numerator);
    }
    Add(static_cast<double>(result.gradient_underflow_count.value_or(-1)));
    const NonFinite& flags = result.non_finite;
    const uint8_t bits[] = {flags.input_nan, flags.input_infinity,
                            flags.result_nan, flags.result_infinity};
    Add(bits, sizeof(bits));
  }
  std::string Name() const { return absl::StrFormat("%016x", hash_); }

 private:
  uint64_t hash_ = 0xcbf29ce484222325u;
};

std::unique_ptr<Task> Prepare(const Engine& engine, const Evaluation& e) {
  Violations violations;
  return engine.Prepare(e, &violations);
}

std::string DigestOf(const Task& task) {
  Digest digest;
  if (task.violations.empty()) digest.Add(task.result);
  return digest.Name();
}

std::string RunAlone(const Engine& engine, const Evaluation& evaluation) {
  std::unique_ptr<Task> task = Prepare(engine, evaluation);
  if (task == nullptr) return "refused";
  Task* tasks[] = {task.get()};
  engine.Run(tasks);
  return DigestOf(*task);
}

// The evaluations of the golden vectors and random ones of many sizes.
std::vector<GoldenCase> AllCases() {
  std::vector<GoldenCase> cases;
  for (const LossDefinition* loss : AllLosses()) {
    for (GoldenCase& golden : LoadGoldenCases(std::string(loss->schema.name))) {
      cases.push_back(std::move(golden));
    }
    for (GoldenCase& random : RandomCases(*loss)) {
      cases.push_back(std::move(random));
    }
  }
  return cases;
}

TEST(BitsTest, EveryTargetGivesThoseOfThePortableKernels) {
  const std::vector<GoldenCase> cases = AllCases();
  const Engine portable = MakeEngine(1, "PORTABLE");
  for (const KernelTable& table : CpuKernels()) {
    const Engine engine = MakeEngine(1, table.target);
    for (const GoldenCase& c : cases) {
      EXPECT_EQ(RunAlone(engine, c.evaluation),
                RunAlone(portable, c.evaluation))
          << c.name << " on " << table.target;
    }
  }
}

TEST(BitsTest, ThreadsDoNotShow) {
  const Engine one = MakeEngine(1, "");
  for (int threads : {2, 5}) {
    const Engine many = MakeEngine(threads, "");
    for (const LossDefinition* loss : AllLosses()) {
      for (const GoldenCase& c : RandomCases(*loss)) {
        EXPECT_EQ(RunAlone(many, c.evaluation), RunAlone(one, c.evaluation))
            << c.name;
      }
    }
  }
}

TEST(BitsTest, SplitsDoNotShow) {
  const std::vector<GoldenCase> cases = AllCases();
  const Engine whole = MakeEngine(1, "", int64_t{1} << 40);
  for (int64_t grain : {1, 1500, 40000}) {
    const Engine split = MakeEngine(2, "", grain);
    for (const GoldenCase& c : cases) {
      EXPECT_EQ(RunAlone(split, c.evaluation), RunAlone(whole, c.evaluation))
          << c.name << " in splits of " << grain;
    }
  }
}

TEST(BitsTest, BatchMatesDoNotShow) {
  const std::vector<GoldenCase> cases = AllCases();
  const Engine engine = MakeEngine(2, "");
  const Engine alone = MakeEngine(1, "");
  std::mt19937 generator(20260001);
  for (int round = 0; round < 3; ++round) {
    std::vector<size_t> order(cases.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::shuffle(order.begin(), order.end(), generator);
    for (size_t begin = 0; begin < order.size(); begin += 37) {
      std::vector<std::unique_ptr<Task>> owned;
      std::vector<Task*> tasks;
      std::vector<size_t> indices;
      for (size_t i = begin; i < order.size() && i < begin + 37; ++i) {
        auto task = Prepare(engine, cases[order[i]].evaluation);
        if (task == nullptr) continue;
        tasks.push_back(task.get());
        indices.push_back(order[i]);
        owned.push_back(std::move(task));
      }
      engine.Run(tasks);
      for (size_t i = 0; i < tasks.size(); ++i) {
        EXPECT_EQ(DigestOf(*tasks[i]),
                  RunAlone(alone, cases[indices[i]].evaluation))
            << cases[indices[i]].name;
      }
    }
  }
}

// tests/conformance/digests.txt holds the digest of every random case, so that
// machines with different instruction sets check each other. Whatever changes a
// line raises kNumericsVersion; LOSSD_WRITE_DIGESTS=1 writes the file anew.
TEST(BitsTest, TheDigestsAreTheCommittedOnes) {
  const Engine engine = MakeEngine(1, "");
  std::map<std::string, std::string> actual;
  for (const LossDefinition* loss : AllLosses()) {
    for (const GoldenCase& c : RandomCases(*loss)) {
      actual[c.name] = RunAlone(engine, c.evaluation);
    }
  }
  const std::string path = LOSSD_DIGESTS;
  if (std::getenv("LOSSD_WRITE_DIGESTS") != nullptr) {
    std::ofstream out(path);
    out << "numerics_version " << kNumericsVersion << "\n";
    for (const auto& [name, digest] : actual)
      out << name << " " << digest << "\n";
  }
  std::ifstream file(path);
  std::map<std::string, std::string> committed;
  for (std::string line; std::getline(file, line);) {
    committed.insert(
        std::pair<std::string, std::string>(absl::StrSplit(line, ' ')));
  }
  EXPECT_EQ(committed["numerics_version"], absl::StrCat(kNumericsVersion));
  committed.erase("numerics_version");
  EXPECT_EQ(actual, committed);
}

}  // namespace
}  // namespace lossd
