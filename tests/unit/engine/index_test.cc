// SPDX-License-Identifier: Apache-2.0
//
// Whatever is used as an index, at every place where it could be wrong. All
// tensors lie in heap blocks of exactly their size, so that AddressSanitizer
// sees whoever reads or writes beyond either end.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/cpu_backend.h"
#include "server/kernels/cpu/cpu_kernels.h"
#include "tests/unit/engine/backend_under_test.h"
#include "tests/unit/engine/engine_test_support.h"

namespace lossd {
namespace {

using Indexes = std::vector<int64_t>;

constexpr int64_t kMin64 = std::numeric_limits<int64_t>::min();
constexpr int64_t kMax64 = std::numeric_limits<int64_t>::max();
constexpr int64_t kMin32 = std::numeric_limits<int32_t>::min();
constexpr int64_t kMax32 = std::numeric_limits<int32_t>::max();

struct Numbers {  // of the dtype of a test, all alike
  std::string tensor;
  Shape shape;
};
struct Integers {
  std::string tensor;
  Shape shape;
  Indexes values;
};

// A good evaluation, and the tensor of it whose values are to be spoilt: those
// of [low, high) are good, and besides those of `others`.
struct IndexCase {
  std::string name;
  std::string loss;
  std::vector<Numbers> numbers;
  std::vector<Integers> integers;  // what is to be spoilt comes first
  int64_t low;
  int64_t high;
  Indexes others = {};
  std::vector<std::pair<std::string, double>> parameters = {};
  // Else a good value at another place is none: lengths have a sum.
  bool free = true;
};

void PrintTo(const IndexCase& test, std::ostream* out) { *out << test.name; }

bool Fits(int64_t value, Dtype dtype) {
  switch (dtype) {
    case Dtype::kInt64:
      return true;
    case Dtype::kInt32:
      return value >= kMin32 && value <= kMax32;
    default:
      return value >= 0 && value <= 255;
  }
}

bool Fit(const Indexes& values, Dtype dtype) {
  return std::all_of(values.begin(), values.end(),
                     [&](int64_t value) { return Fits(value, dtype); });
}

// An evaluation in blocks of exactly the size of its tensors.
class ExactEvaluation {
 public:
  ExactEvaluation(const IndexCase& test, Dtype number, Dtype index)
      : schema_(FindLoss(test.loss)->schema) {
    evaluation_.loss = FindLoss(test.loss);
    evaluation_.arguments.parameters.resize(schema_.parameters.size());
    for (const auto& [name, value] : test.parameters) {
      for (size_t i = 0; i < schema_.parameters.size(); ++i) {
        if (schema_.parameters[i].name == name) {
          evaluation_.arguments.parameters[i] = value;
        }
      }
    }
    for (const Numbers& numbers : test.numbers) {
      const TestTensor values = Filled(number, numbers.shape, -0.75);
      Add(numbers.tensor, values.view(), values.view().data);
    }
    for (const Integers& integers : test.integers) AddIndexes(integers, index);
    evaluation_.gradient = true;
    for (const Output output :
         {Output::kLoss, Output::kElementwiseLosses, Output::kGradients}) {
      evaluation_.outputs.Add(output);
    }
    if (!schema_.has_probabilities) return;
    for (const Output output :
         {Output::kProbabilities, Output::kLogProbabilities,
          Output::kPredictedClasses}) {
      evaluation_.outputs.Add(output);
    }
  }

  const Evaluation& evaluation() const { return evaluation_; }

  // What is wrong with it, if anything.
  Violations Refuse(const Engine& engine) const {
    Violations violations;
    const auto task = engine.Prepare(evaluation_, &violations);
    EXPECT_EQ(task == nullptr, !violations.empty());
    if (task == nullptr) return violations;
    Task* tasks[] = {task.get()};
    engine.Run(tasks);
    return task->violations;
  }

 private:
  void AddIndexes(const Integers& integers, Dtype dtype) {
    TensorView view;
    view.dtype = dtype;
    view.shape = integers.shape;
    view.elements = ElementCount(integers.shape).value();
    ASSERT_EQ(static_cast<size_t>(view.elements), integers.values.size());
    std::vector<uint8_t> bytes;
    for (const int64_t value : integers.values) {
      const auto* from = reinterpret_cast<const uint8_t*>(&value);
      bytes.insert(bytes.end(), from, from + DtypeSize(dtype));
    }
    Add(integers.tensor, view, bytes.data());
  }

  void Add(absl::string_view name, TensorView view, const uint8_t* bytes) {
    const auto size =
        static_cast<size_t>(view.elements * DtypeSize(view.dtype));
    blocks_.emplace_back(new uint8_t[size]);
    if (size > 0) std::memcpy(blocks_.back().get(), bytes, size);
    view.data = blocks_.back().get();
    for (size_t slot = 0; slot < schema_.tensors.size(); ++slot) {
      if (schema_.tensors[slot].name == name) {
        evaluation_.arguments.tensors[slot] = view;
        return;
      }
    }
    ADD_FAILURE() << "there is no " << name;
  }

  const LossSchema& schema_;
  Evaluation evaluation_;
  std::vector<std::unique_ptr<uint8_t[]>> blocks_;
};

// An engine on the backend under test, and, where that is the CPU's, for each
// other set of kernels that it can run.
const std::vector<std::unique_ptr<Engine>>& Engines() {
  static const auto* const engines = [] {
    auto* made = new std::vector<std::unique_ptr<Engine>>;
    const auto add = [&](std::unique_ptr<Backend> backend) {
      const DeviceClass device = backend->device_class();
      std::vector<std::unique_ptr<Backend>> backends;
      backends.push_back(std::move(backend));
      made->push_back(std::make_unique<Engine>(EngineLimits(),
                                               std::move(backends), device));
    };
    add(MakeBackendUnderTest());
    if (made->front()->default_device() != DeviceClass::kCpu) return made;
    for (const KernelTable& kernels : CpuKernels()) {
      add(MakeCpuBackend(1, kernels.target).value());
    }
    add(MakeReferenceBackend());
    return made;
  }();
  return *engines;
}

// The first, a middle and the last place.
std::vector<size_t> Places(const Integers& integers) {
  std::vector<size_t> places = {0, integers.values.size() / 2,
                                integers.values.size() - 1};
  places.erase(std::unique(places.begin(), places.end()), places.end());
  return places;
}

bool IsGood(const IndexCase& test, int64_t value) {
  return (value >= test.low && value < test.high) ||
         std::count(test.others.begin(), test.others.end(), value) > 0;
}

// Just outside, far outside, and what a narrower integer would take for good.
Indexes BadValues(const IndexCase& test, Dtype dtype) {
  Indexes bad;
  for (const int64_t value :
       {int64_t{-1}, int64_t{-2}, int64_t{-100}, test.low - 1, test.high,
        test.high + 1, int64_t{255}, int64_t{256} + test.low,
        (int64_t{1} << 32) + test.low, kMin32, kMin32 - 1, kMax32, kMax32 + 1,
        kMin64, kMin64 + test.low, kMax64 - 1, kMax64}) {
    if (Fits(value, dtype) && !IsGood(test, value)) bad.push_back(value);
  }
  return bad;
}

constexpr Dtype kIndexDtypes[] = {Dtype::kInt64, Dtype::kInt32, Dtype::kUint8};
constexpr Dtype kNumberDtypes[] = {Dtype::kFloat16, Dtype::kBfloat16,
                                   Dtype::kFloat32, Dtype::kFloat64};

class IndexTest : public testing::TestWithParam<IndexCase> {};

TEST_P(IndexTest, IsRefusedByNameWhereItIsOutside) {
  const IndexCase& test = GetParam();
  const std::string& tensor = test.integers[0].tensor;
  int refused = 0;
  for (const Dtype dtype : kIndexDtypes) {
    if (!Fit(test.integers[0].values, dtype)) continue;
    for (const size_t place : Places(test.integers[0])) {
      for (const int64_t value : BadValues(test, dtype)) {
        IndexCase bad = test;
        bad.integers[0].values[place] = value;
        const Violations violations =
            ExactEvaluation(bad, Dtype::kFloat32, dtype).Refuse(*Engines()[0]);
        EXPECT_THAT(
            OnlyRefusal(violations, Reason::kTargetOutOfRange,
                        absl::StrCat("evaluation.", test.loss, ".", tensor)),
            testing::StartsWith(absl::StrCat(
                tensor,
                IndexName(static_cast<int64_t>(place), test.integers[0].shape),
                " = ", value, " is outside [")))
            << DtypeName(dtype);
        ++refused;
      }
    }
  }
  EXPECT_GE(refused, 20);
}

TEST_P(IndexTest, IsTakenWhereItIsInside) {
  const IndexCase& test = GetParam();
  std::vector<IndexCase> neighbours = {test};
  Indexes good = test.others;
  good.insert(good.end(), {test.low, test.high - 1});
  for (const size_t place : Places(test.integers[0])) {
    for (size_t i = 0; test.free && i < good.size(); ++i) {
      neighbours.push_back(test);
      neighbours.back().integers[0].values[place] = good[i];
    }
  }
  for (const IndexCase& neighbour : neighbours) {
    const Indexes& values = neighbour.integers[0].values;
    for (const Dtype index : kIndexDtypes) {
      if (!Fit(values, index)) continue;
      for (const Dtype number : kNumberDtypes) {
        const ExactEvaluation evaluation(neighbour, number, index);
        for (const auto& engine : Engines()) {
          EXPECT_EQ(evaluation.Refuse(*engine).count(), 0)
              << testing::PrintToString(values) << DtypeName(index);
        }
      }
    }
  }
}

TEST_P(IndexTest, IsRefusedWhereNothingIsComputedToo) {
  IndexCase bad = GetParam();
  bad.integers[0].values[0] = kMin64;
  const ExactEvaluation exact(bad, Dtype::kFloat32, Dtype::kInt64);
  Evaluation evaluation = exact.evaluation();
  evaluation.validate_only = true;
  evaluation.arguments.tensors[0].data = nullptr;
  Violations violations;
  EXPECT_EQ(Engines()[0]->Prepare(evaluation, &violations), nullptr);
  EXPECT_EQ(violations.count(), 1);
}

std::vector<IndexCase> ClassCases() {
  std::vector<IndexCase> cases;
  for (const char* loss : {"nll_loss", "cross_entropy"}) {
    const std::string name = loss == std::string("nll_loss") ? "Nll" : "Ce";
    const std::vector<Numbers> rows = {{"input", {5, 3}}, {"weight", {3}}};
    const Integers target = {"target", {5}, {0, 1, 2, 1, 0}};
    cases.push_back({name + "One",
                     loss,
                     {{"input", {7}}},
                     {{"target", {}, {3}}},
                     0,
                     7,
                     {-100}});
    cases.push_back(
        {name + "Rows", loss, {{"input", {5, 3}}}, {target}, 0, 3, {-100}});
    cases.push_back({name + "Weighted", loss, rows, {target}, 0, 3, {-100}});
    cases.push_back({name + "Images",
                     loss,
                     {{"input", {2, 3, 2, 1}}, {"weight", {3}}},
                     {{"target", {2, 2, 1}, {0, 1, 2, 1}}},
                     0,
                     3,
                     {-100}});
    cases.push_back({name + "OneClass",
                     loss,
                     {{"input", {3, 1}}},
                     {{"target", {3}, {0, 0, 0}}},
                     0,
                     1,
                     {-100}});
    for (const int64_t ignored :
         {int64_t{-1}, int64_t{3}, int64_t{1}, kMin32, -(int64_t{1} << 53)}) {
      cases.push_back(
          {absl::StrCat(name, "Ignoring", ignored < 0 ? "Minus" : "",
                        ignored < 0 ? -ignored : ignored),
           loss,
           rows,
           {target},
           0,
           3,
           {ignored},
           {{"ignore_index", static_cast<double>(ignored)}}});
    }
  }
  cases.push_back({"CeSmoothed",
                   "cross_entropy",
                   {{"input", {5, 3}}, {"weight", {3}}},
                   {{"target", {5}, {0, 1, 2, 1, 0}}},
                   0,
                   3,
                   {-100},
                   {{"label_smoothing", 0.25}}});
  return cases;
}

std::vector<IndexCase> MarginCases() {
  const Integers target = {"target", {5}, {0, 1, 2, 1, 0}};
  return {
      {"MultiMarginOne",
       "multi_margin_loss",
       {{"input", {7}}},
       {{"target", {}, {3}}},
       0,
       7},
      {"MultiMarginRows",
       "multi_margin_loss",
       {{"input", {5, 3}}},
       {target},
       0,
       3},
      {"MultiMarginWeighted",
       "multi_margin_loss",
       {{"input", {5, 3}}, {"weight", {3}}},
       {target},
       0,
       3,
       {},
       {{"p", 2}}},
      {"MultiMarginOneClass",
       "multi_margin_loss",
       {{"input", {3, 1}}},
       {{"target", {3}, {0, 0, 0}}},
       0,
       1},
      {"MultilabelMarginOne",
       "multilabel_margin_loss",
       {{"input", {7}}},
       {{"target", {7}, {3, 0, 5, 1, 2, 4, 6}}},
       0,
       7,
       {-1}},
      {"MultilabelMarginRows",
       "multilabel_margin_loss",
       {{"input", {3, 4}}},
       {{"target", {3, 4}, {0, 1, 2, 3, 3, 3, 3, 3, 2, 0, 1, 0}}},
       0,
       4,
       {-1}},
      // What is behind the end is checked too, as in PyTorch.
      {"MultilabelMarginEnded",
       "multilabel_margin_loss",
       {{"input", {2, 3}}},
       {{"target", {2, 3}, {-1, 1, 2, 0, -1, -1}}},
       0,
       3,
       {-1}},
      {"MultilabelMarginOneClass",
       "multilabel_margin_loss",
       {{"input", {3, 1}}},
       {{"target", {3, 1}, {0, 0, 0}}},
       0,
       1,
       {-1}},
  };
}

// Four steps of three sequences over five classes.
const Numbers kSteps = {"log_probs", {4, 3, 5}};
const Integers kInputLengths = {"input_lengths", {3}, {4, 3, 4}};

std::vector<IndexCase> PaddedCases() {
  const Integers targets = {"targets", {3, 2}, {1, 2, 3, 4, 4, 1}};
  const Integers lengths = {"target_lengths", {3}, {2, 1, 2}};
  const Integers all = {"target_lengths", {3}, {2, 2, 2}};
  const auto one = [](const char* name, const Integers& first, int64_t low,
                      int64_t high) {
    IndexCase test = {name,    "ctc_loss", {{"log_probs", {4, 5}}},
                      {first}, low,        high};
    for (const Integers& other :
         {Integers{"targets", {2}, {1, 2}}, Integers{"input_lengths", {}, {4}},
          Integers{"target_lengths", {}, {2}}}) {
      if (other.tensor != first.tensor) test.integers.push_back(other);
    }
    return test;
  };
  return {
      {"CtcPaddedTargets",
       "ctc_loss",
       {kSteps},
       {targets, kInputLengths, all},
       1,
       5},
      {"CtcPaddedLastBlank",
       "ctc_loss",
       {kSteps},
       {{"targets", {3, 2}, {0, 2, 3, 1, 3, 1}}, kInputLengths, all},
       0,
       4,
       {},
       {{"blank", 4}}},
      {"CtcPaddedInputLengths",
       "ctc_loss",
       {kSteps},
       {kInputLengths, targets, lengths},
       0,
       5},
      {"CtcPaddedTargetLengths",
       "ctc_loss",
       {kSteps},
       {lengths, targets, kInputLengths},
       0,
       3},
      one("CtcOneTargets", {"targets", {2}, {1, 2}}, 1, 5),
      one("CtcOnePaddedTargets", {"targets", {1, 2}, {1, 2}}, 1, 5),
      one("CtcOneInputLength", {"input_lengths", {}, {4}}, 0, 5),
      one("CtcOneTargetLength", {"target_lengths", {1}, {2}}, 0, 3),
  };
}

std::vector<IndexCase> ConcatenatedCases() {
  const Integers targets = {"targets", {5}, {1, 2, 3, 4, 4}};
  const Integers lengths = {"target_lengths", {3}, {2, 1, 2}};
  return {
      {"CtcConcatenatedTargets",
       "ctc_loss",
       {kSteps},
       {targets, kInputLengths, lengths},
       1,
       5},
      {"CtcConcatenatedInputLengths",
       "ctc_loss",
       {kSteps},
       {kInputLengths, targets, lengths},
       0,
       5},
      {"CtcConcatenatedTargetLengths",
       "ctc_loss",
       {kSteps},
       {lengths, targets, kInputLengths},
       0,
       6,
       {},
       {},
       false},
      {"CtcEmptyTargetLengths",
       "ctc_loss",
       {kSteps},
       {{"target_lengths", {3}, {0, 0, 0}},
        {"targets", {0}, {}},
        kInputLengths},
       0,
       1,
       {},
       {},
       false},
  };
}

std::vector<IndexCase> AllCases() {
  std::vector<IndexCase> all = ClassCases();
  for (const auto& more : {MarginCases(), PaddedCases(), ConcatenatedCases()}) {
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Every, IndexTest, testing::ValuesIn(AllCases()),
                         [](const auto& info) { return info.param.name; });

// A batch of three with these target lengths.
Violations RefuseLengths(const Integers& targets, const Indexes& lengths) {
  const IndexCase test = {
      "",       "ctc_loss",
      {kSteps}, {targets, kInputLengths, {"target_lengths", {3}, lengths}},
      0,        0};
  Violations violations;
  for (const auto& engine : Engines()) {
    violations =
        ExactEvaluation(test, Dtype::kFloat32, Dtype::kInt64).Refuse(*engine);
  }
  return violations;
}

TEST(LengthsTest, ThatOverrunConcatenatedTargetsAreRefused) {
  const Integers targets = {"targets", {5}, {1, 2, 3, 4, 4}};
  for (const Indexes& lengths : {Indexes{2, 2, 2},
                                 {0, 1, 5},
                                 {5, 5, 5},
                                 {5, 0, 1},
                                 {2, 1, 1},
                                 {0, 0, 0},
                                 {4, 0, 0}}) {
    const int64_t sum = lengths[0] + lengths[1] + lengths[2];
    EXPECT_EQ(
        OnlyRefusal(RefuseLengths(targets, lengths), Reason::kShapeMismatch,
                    "evaluation.ctc_loss.targets"),
        absl::StrCat("targets has 5 labels, but target_lengths add up "
                     "to ",
                     sum,
                     ": send the labels of all sequences one after the "
                     "other, or pad them to [N, S]."));
  }
  for (const Indexes& lengths :
       {Indexes{2, 1, 2}, {0, 0, 5}, {5, 0, 0}, {0, 5, 0}, {1, 2, 2}}) {
    EXPECT_TRUE(RefuseLengths(targets, lengths).empty());
  }
}

TEST(LengthsTest, WhoseSumWrapsAroundAreRefused) {
  for (const Indexes& lengths :
       {Indexes{kMax64, kMax64, 7},  // 5, if it wrapped around
        Indexes{kMax64, kMin64, 6},
        {kMin64, kMin64, 5},
        {-1, 1, 5},
        {kMax64, kMax64, kMax64},
        {kMax64, kMax64 - 5, 3},
        {5, kMin64, kMin64},
        {int64_t{1} << 62, int64_t{1} << 62, kMin64 + 5}}) {
    for (const Integers& targets :
         {Integers{"targets", {5}, {1, 2, 3, 4, 4}},
          Integers{"targets", {3, 2}, {1, 2, 3, 4, 4, 1}},
          Integers{"targets", {0}, {}}, Integers{"targets", {3, 0}, {}}}) {
      EXPECT_THAT(OnlyRefusal(RefuseLengths(targets, lengths),
                              Reason::kTargetOutOfRange,
                              "evaluation.ctc_loss.target_lengths"),
                  testing::HasSubstr(" is outside [0, "));
    }
  }
}

// What pads the labels of a sequence is not looked at, whatever it is.
TEST(LengthsTest, PaddingMayHoldAnything) {
  for (const int64_t value : {kMin64, kMax64, kMin32, int64_t{-1}, int64_t{0},
                              int64_t{5}, int64_t{255}}) {
    EXPECT_TRUE(
        RefuseLengths({"targets", {3, 2}, {1, value, value, value, 4, value}},
                      {1, 0, 1})
            .empty());
  }
}

}  // namespace
}  // namespace lossd
