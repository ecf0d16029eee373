// SPDX-License-Identifier: Apache-2.0
//
// Every barrier of every kernel is needed, and every exchange among the threads
// of a warp must wait for them: else some evaluation gives other bits, an error
// or an access to memory that is not its own, when its threads run in another
// order. All of the kernels' source are tried.

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "tests/conformance/golden_case.h"
#include "tests/cuda/answer_bytes.h"
#include "tests/cuda/class_case.h"
#include "tests/cuda/simt/simt_engine.h"
#include "tests/cuda/source_sites.h"

// Reports of the many processes that are ended on purpose need no names.
extern "C" const char* __asan_default_options() { return "symbolize=0"; }

namespace lossd {
namespace {

// Evaluations that come to every barrier, in batches with several rows for each
// group of threads. The last case is all of them in one batch.
class Suite {
 public:
  Suite() {
    AddClasses();
    for (const char* loss : {"ctc_loss", "nll_loss", "multilabel_margin_loss",
                             "clipped_policy_loss", "triplet_margin_loss"}) {
      golden_.push_back(LoadGoldenCases(loss));
      for (size_t i = 0; i < golden_.back().size(); i += 5) {
        const GoldenCase& golden = golden_.back()[i];
        if (golden.error.empty()) Add(golden.name, golden.evaluation);
      }
    }
  }

  size_t size() const { return evaluations_.size() + 1; }
  std::string NameOf(size_t i) const {
    return i < names_.size() ? names_[i] : "all in one batch";
  }

  // What case i answers, and whether it could be computed at all.
  std::string Run(const Engine& engine, size_t i) const {
    std::vector<Evaluation> batch = evaluations_;
    // Twice, so that jobs change, too.
    if (i < evaluations_.size()) batch.assign(2, evaluations_[i]);
    std::vector<std::unique_ptr<Task>> tasks;
    std::vector<Task*> pointers;
    Violations violations;
    for (const Evaluation& evaluation : batch) {
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

 private:
  void AddClasses() {
    for (int64_t classes : {40, 1544, 8200}) {
      for (Dtype dtype : {Dtype::kFloat32, Dtype::kBfloat16}) {
        ClassCase::Shape shape;
        shape.dtype = dtype;
        shape.classes = classes;
        shape.rows = classes == 40 ? 300 : 4;
        shape.weighted = true;
        classes_.push_back(std::make_unique<ClassCase>(shape));
        const std::string name = absl::StrCat(
            "cross_entropy/", DtypeName(dtype), "/", shape.rows, "x", classes);
        Add(name, classes_.back()->evaluation());
        Evaluation general = classes_.back()->evaluation();
        general.outputs.Add(Output::kLoss);
        general.outputs.Add(Output::kGradients);
        general.outputs.Add(Output::kPredictedClasses);
        Add(name + "/predicted", general);
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
    Add("nll_loss/float16/300x40/log_probabilities", activations);
  }

  void Add(const std::string& name, const Evaluation& evaluation) {
    names_.push_back(name);
    evaluations_.push_back(evaluation);
  }

  std::vector<std::unique_ptr<ClassCase>> classes_;
  std::vector<std::vector<GoldenCase>> golden_;
  std::vector<std::string> names_;
  std::vector<Evaluation> evaluations_;
};

constexpr int64_t kWarpRows[] = {cuda::kWarpRow, 16};

// Answers with every barrier in place, and which cases come to which.
struct Complete {
  std::vector<std::string> answers;
  std::map<simt::Site, std::vector<size_t>> cases;
};

Complete RunComplete(const Suite& suite, int64_t warp_row) {
  Complete complete;
  simt::Machine machine(1);
  const auto engine = simt::MakeSimtEngine(&machine, warp_row);
  for (size_t i = 0; i < suite.size(); ++i) {
    complete.answers.push_back(suite.Run(*engine, i));
    for (const simt::Site& site : machine.TakeSites()) {
      complete.cases[site].push_back(i);
    }
  }
  return complete;
}

// Tries the cases without a barrier until one answers otherwise, and keeps in
// `*at` which is being tried; in a process of its own, because threads that run
// ahead may go anywhere. Ends it.
[[noreturn]] void TryWithout(const Suite& suite, const simt::Site& site,
                             int64_t warp_row, const Complete& complete,
                             volatile size_t* at) {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    simt::Machine machine(seed);
    machine.set_removed(site);
    const auto engine = simt::MakeSimtEngine(&machine, warp_row);
    for (size_t i : complete.cases.at(site)) {
      *at = i;
      if (suite.Run(*engine, i) != complete.answers[i]) _exit(1);
    }
  }
  _exit(0);
}

// The case that fails without a barrier; empty if all pass.
std::string NoticedBy(const Suite& suite, const simt::Site& site,
                      int64_t warp_row, const Complete& complete) {
  void* const shared = mmap(nullptr, sizeof(size_t), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return "";
  auto* const at = static_cast<volatile size_t*>(shared);
  const pid_t child = fork();
  if (child == 0) {
    if (std::freopen("/dev/null", "w", stderr) == nullptr) _exit(0);
    TryWithout(suite, site, warp_row, complete, at);
  }
  int status = 0;
  waitpid(child, &status, 0);
  const bool noticed = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
  const std::string name = noticed ? suite.NameOf(*at) : "";
  munmap(shared, sizeof(size_t));
  return name;
}

bool IsAt(const simt::Site& site, const SourceSite& source) {
  return site.line == source.line && absl::EndsWith(site.file, source.file);
}

TEST(BarriersTest, EachIsNeeded) {
  const Suite suite;
  const std::vector<SourceSite> sources = SourceSites();
  std::map<simt::Site, std::set<std::string>> noticed;
  for (int64_t warp_row : kWarpRows) {
    const Complete complete = RunComplete(suite, warp_row);
    for (const auto& [site, cases] : complete.cases) {
      const std::string by = NoticedBy(suite, site, warp_row, complete);
      noticed[site];
      if (!by.empty()) noticed[site].insert(by);
    }
  }
  for (const SourceSite& source : sources) {
    std::set<std::string> by;
    bool reached = false;
    for (const auto& [site, cases] : noticed) {
      if (!IsAt(site, source)) continue;
      reached = true;
      by.insert(cases.begin(), cases.end());
    }
    // A row of the table in docs/cuda.md.
    std::printf("| `%s` | `%s` | `%s` | %s |\n",
                source.file.substr(source.file.rfind('/') + 1).c_str(),
                source.function.c_str(), source.text.c_str(),
                by.empty() ? "NOTHING" : absl::StrJoin(by, ", ").c_str());
    EXPECT_TRUE(reached) << "no case comes to " << source.file << ":"
                         << source.line << ": " << source.text;
    EXPECT_FALSE(by.empty()) << "nothing fails without " << source.file << ":"
                             << source.line << ": " << source.text;
  }
  // And there is none that the source does not show.
  for (const auto& [site, cases] : noticed) {
    bool known = false;
    for (const SourceSite& source : sources) known |= IsAt(site, source);
    EXPECT_TRUE(known) << site.file << ":" << site.line;
  }
  EXPECT_GE(sources.size(), 20u);
}

}  // namespace
}  // namespace lossd
