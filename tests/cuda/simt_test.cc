// SPDX-License-Identifier: Apache-2.0
//
// The kernels for CUDA on a machine of fibers, beside the portable kernels: in
// sizes on and beside every edge, and the same bits whatever runs first.

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/conformance/golden_check.h"
#include "tests/conformance/random_case.h"
#include "tests/cuda/answer_bytes.h"
#include "tests/cuda/class_case.h"
#include "tests/cuda/portable_engine.h"
#include "tests/cuda/simt/simt_engine.h"

namespace lossd {
namespace {

void ExpectSame(const Engine& simt, const Engine& portable,
                const Evaluation& evaluation, int64_t underflow = 0) {
  const std::unique_ptr<Task> actual = RunOn(simt, evaluation);
  const std::unique_ptr<Task> expected = RunOn(portable, evaluation);
  ASSERT_EQ(actual == nullptr, expected == nullptr);
  if (actual == nullptr) return;
  ASSERT_EQ(actual->violations.count(), expected->violations.count())
      << (actual->violations.empty()
              ? ""
              : actual->violations.kept()[0].description);
  if (!expected->violations.empty()) return;
  ExpectSameAnswer(actual->result, expected->result, underflow);
}

class SimtTest : public testing::TestWithParam<std::string> {};

TEST_P(SimtTest, RandomCasesAreAsOnTheCpu) {
  simt::Machine machine(simt::Seed());
  const std::unique_ptr<Engine> portable = PortableEngine();
  for (int64_t warp_row : {cuda::kWarpRow, int64_t{16}}) {
    const auto engine = simt::MakeSimtEngine(&machine, warp_row);
    for (const GoldenCase& c : RandomCases(*FindLoss(GetParam()))) {
      SCOPED_TRACE(absl::StrCat(c.name, ", rows of a warp up to ", warp_row));
      ExpectSame(*engine, *portable, c.evaluation);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryLoss, SimtTest, testing::ValuesIn(LossNames()),
                         [](const auto& info) { return info.param; });

// Some of all losses: golden vectors and random cases.
std::vector<GoldenCase> SomeCases() {
  std::vector<GoldenCase> cases;
  const auto take = [&cases](std::vector<GoldenCase> from, size_t step) {
    for (size_t i = 0; i < from.size(); i += step) {
      if (from[i].error.empty()) cases.push_back(std::move(from[i]));
    }
  };
  for (const LossDefinition* loss : AllLosses()) {
    take(LoadGoldenCases(std::string(loss->schema.name)), 7);
    take(RandomCases(*loss), 3);
  }
  return cases;
}

TEST(SimtBitsTest, BatchesAndTheOrderOfThreadsDoNotShow) {
  const uint64_t seed = simt::Seed();
  simt::Machine machine(seed), other(seed + 1);
  const auto one = simt::MakeSimtEngine(&machine);
  const auto many = simt::MakeSimtEngine(&other);
  std::vector<GoldenCase> cases = SomeCases();
  std::mt19937_64 random(seed);
  std::shuffle(cases.begin(), cases.end(), random);
  for (size_t begin = 0; begin < cases.size(); begin += 37) {
    std::vector<std::unique_ptr<Task>> owned;
    std::vector<Task*> batch;
    const size_t end = std::min(cases.size(), begin + 37);
    for (size_t i = begin; i < end; ++i) {
      Violations violations;
      owned.push_back(many->Prepare(cases[i].evaluation, &violations));
      ASSERT_NE(owned.back(), nullptr) << cases[i].name;
      batch.push_back(owned.back().get());
    }
    many->Run(batch);
    for (size_t i = begin; i < end; ++i) {
      const auto alone = RunOn(*one, cases[i].evaluation);
      EXPECT_EQ(alone->violations.count(), batch[i - begin]->violations.count())
          << cases[i].name;
      EXPECT_EQ(AnswerBytes(alone->result),
                AnswerBytes(batch[i - begin]->result))
          << cases[i].name;
    }
  }
}

class ClassRowTest : public testing::TestWithParam<Dtype> {};

TEST_P(ClassRowTest, RowsOfEveryBinAreAsOnTheCpu) {
  simt::Machine machine(simt::Seed());
  const auto engine = simt::MakeSimtEngine(&machine);
  const std::unique_ptr<Engine> portable = PortableEngine();
  const int64_t edges[] = {8, 128, 1016, 1024, 1032, 8192, 8200, 20000, 33000};
  for (int64_t classes : edges) {
    for (const bool special : {false, true}) {
      ClassCase::Shape shape;
      shape.dtype = GetParam();
      shape.classes = classes;
      shape.rows = classes > 10000 ? 3 : 7;
      shape.weighted = special;
      shape.special = special;
      const ClassCase of(shape);
      SCOPED_TRACE(absl::StrCat(classes, special ? " special" : " plain"));
      ExpectSame(*engine, *portable, of.evaluation());
    }
  }
}

TEST_P(ClassRowTest, AWeightThatIsNotFiniteIsNoticedThoughNoLabelHasIt) {
  simt::Machine machine(simt::Seed());
  const auto engine = simt::MakeSimtEngine(&machine);
  const std::unique_ptr<Engine> portable = PortableEngine();
  for (int64_t classes : {1016, 1032, 8200}) {
    for (const float weight : {NAN, INFINITY}) {
      ClassCase::Shape shape;
      shape.dtype = GetParam();
      shape.classes = classes;
      shape.rows = 3;
      shape.weighted = true;
      shape.weight_of_3 = weight;
      const ClassCase of(shape);
      SCOPED_TRACE(absl::StrCat(classes, " classes, ", weight));
      ExpectSame(*engine, *portable, of.evaluation());
    }
  }
}

TEST_P(ClassRowTest, GradientsThatVanishOrOverflowAreCounted) {
  simt::Machine machine(simt::Seed());
  const auto engine = simt::MakeSimtEngine(&machine);
  const std::unique_ptr<Engine> portable = PortableEngine();
  for (const float spread : {4.0f, 60.0f}) {
    for (const double scale : {0.0, 1e-6, 3e4, -2.0}) {
      ClassCase::Shape shape;
      shape.dtype = GetParam();
      shape.classes = 1544;
      shape.rows = 5;
      shape.spread = spread;
      shape.scale = scale;
      const ClassCase of(shape);
      SCOPED_TRACE(absl::StrCat("spread ", spread, ", scale ", scale));
      // The CPU has a factor for each 1024 elements, by which a few products
      // are just not 0.
      ExpectSame(*engine, *portable, of.evaluation(), 80);
    }
  }
}

TEST_P(ClassRowTest, WithoutClustersLongRowsAreABlocks) {
  simt::Machine machine(simt::Seed());
  const auto engine = simt::MakeSimtEngine(&machine, cuda::kWarpRow, 1);
  const std::unique_ptr<Engine> portable = PortableEngine();
  ClassCase::Shape shape;
  shape.dtype = GetParam();
  shape.classes = 9000;
  shape.rows = 2;
  const ClassCase of(shape);
  ExpectSame(*engine, *portable, of.evaluation());
}

TEST_P(ClassRowTest, TheOrderOfThreadsDoesNotShow) {
  ClassCase::Shape shape;
  shape.dtype = GetParam();
  shape.classes = 8200;
  shape.rows = 3;
  const ClassCase of(shape);
  std::string first;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    simt::Machine machine(seed);
    const auto engine = simt::MakeSimtEngine(&machine);
    const std::string bytes =
        AnswerBytes(RunOn(*engine, of.evaluation())->result);
    if (seed == 1) first = bytes;
    EXPECT_EQ(bytes, first) << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(EveryDtype, ClassRowTest,
                         testing::Values(Dtype::kFloat16, Dtype::kBfloat16,
                                         Dtype::kFloat32),
                         [](const auto& info) {
                           return std::string(DtypeName(info.param));
                         });

}  // namespace
}  // namespace lossd
