// SPDX-License-Identifier: Apache-2.0
//
// Every barrier of every kernel is needed: without it, some evaluation gives
// other bits, or an error, when its threads run in another order.

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/conformance/golden_case.h"
#include "tests/cuda/answer_bytes.h"
#include "tests/cuda/class_case.h"
#include "tests/cuda/simt/simt_engine.h"

namespace lossd {
namespace {

// Evaluations that come to every barrier, in batches with several rows for each
// group of threads.
class Suite {
 public:
  Suite() {
    for (int64_t classes : {40, 1544, 8200}) {
      for (Dtype dtype : {Dtype::kFloat32, Dtype::kBfloat16}) {
        ClassCase::Shape shape;
        shape.dtype = dtype;
        shape.classes = classes;
        shape.rows = classes == 40 ? 300 : 4;
        shape.weighted = true;
        classes_.push_back(std::make_unique<ClassCase>(shape));
        Add(classes_.back()->evaluation());
        Evaluation general = classes_.back()->evaluation();
        general.outputs.Add(Output::kLoss);
        general.outputs.Add(Output::kGradients);
        general.outputs.Add(Output::kPredictedClasses);
        Add(general);
      }
    }
    // No sum over lanes ends a row.
    ClassCase::Shape shape;
    shape.loss = "nll_loss";
    shape.dtype = Dtype::kFloat16;
    shape.classes = 40;
    shape.rows = 300;
    classes_.push_back(std::make_unique<ClassCase>(shape));
    Evaluation activations = classes_.back()->evaluation();
    activations.outputs.Add(Output::kLoss);
    activations.outputs.Add(Output::kLogProbabilities);
    Add(activations);
    for (const char* loss : {"ctc_loss", "nll_loss", "multilabel_margin_loss",
                             "clipped_policy_loss", "triplet_margin_loss"}) {
      golden_.push_back(LoadGoldenCases(loss));
      for (size_t i = 0; i < golden_.back().size(); i += 5) {
        const GoldenCase& golden = golden_.back()[i];
        if (golden.error.empty()) Add(golden.evaluation);
      }
    }
  }

  // What the suite answers, and whether each evaluation could be computed, on a
  // machine with that seed. Stops where an answer differs from `expected`.
  std::vector<std::string> Run(simt::Machine* machine, int64_t warp_row,
                               const std::vector<std::string>* expected) const {
    const auto engine = simt::MakeSimtEngine(machine, warp_row);
    std::vector<std::string> answers;
    for (const Evaluation& evaluation : evaluations_) {
      Violations violations;
      // Twice in a batch, so that jobs change, too.
      std::unique_ptr<Task> one = engine->Prepare(evaluation, &violations);
      std::unique_ptr<Task> two = engine->Prepare(evaluation, &violations);
      Task* tasks[] = {one.get(), two.get()};
      engine->Run(tasks);
      answers.push_back(absl::StrCat(one->violations.count(),
                                     AnswerBytes(one->result),
                                     AnswerBytes(two->result)));
      if (expected && answers.back() != (*expected)[answers.size() - 1]) break;
    }
    if (answers.size() == evaluations_.size()) {
      answers.push_back(RunTogether(*engine));
    }
    return answers;
  }

 private:
  // All in one batch, so that a group of threads has several units.
  std::string RunTogether(const Engine& engine) const {
    std::vector<std::unique_ptr<Task>> tasks;
    std::vector<Task*> pointers;
    Violations violations;
    for (const Evaluation& evaluation : evaluations_) {
      tasks.push_back(engine.Prepare(evaluation, &violations));
      pointers.push_back(tasks.back().get());
    }
    engine.Run(pointers);
    std::string bytes;
    for (const auto& task : tasks) {
      absl::StrAppend(&bytes, task->violations.count(),
                      AnswerBytes(task->result));
    }
    return bytes;
  }

  void Add(const Evaluation& evaluation) { evaluations_.push_back(evaluation); }

  std::vector<std::unique_ptr<ClassCase>> classes_;
  std::vector<std::vector<GoldenCase>> golden_;
  std::vector<Evaluation> evaluations_;
};

constexpr int64_t kWarpRows[] = {cuda::kWarpRow, 16};

// Whether the suite fails without a barrier; in a process of its own, because
// threads that run ahead may go anywhere.
bool IsNoticed(const Suite& suite, const simt::Site& site, int64_t warp_row,
               const std::vector<std::string>& expected) {
  const pid_t child = fork();
  if (child == 0) {
    for (uint64_t seed = 1; seed <= 4; ++seed) {
      simt::Machine machine(seed);
      machine.set_removed(site);
      if (suite.Run(&machine, warp_row, &expected) != expected) _exit(1);
    }
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

TEST(BarriersTest, EachIsNeeded) {
  const Suite suite;
  std::set<simt::Site> sites, noticed;
  for (int64_t warp_row : kWarpRows) {
    simt::Machine machine(1);
    const std::vector<std::string> expected =
        suite.Run(&machine, warp_row, nullptr);
    sites.insert(machine.sites().begin(), machine.sites().end());
    for (const simt::Site& site : machine.sites()) {
      if (IsNoticed(suite, site, warp_row, expected)) noticed.insert(site);
    }
  }
  for (const simt::Site& site : sites) {
    std::printf("%-9s %s:%d\n", noticed.count(site) ? "caught" : "SURVIVES",
                site.file.c_str(), site.line);
    EXPECT_TRUE(noticed.count(site)) << site.file << ":" << site.line;
  }
  EXPECT_GE(sites.size(), 12u);
}

}  // namespace
}  // namespace lossd
