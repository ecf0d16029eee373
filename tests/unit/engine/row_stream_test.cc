// SPDX-License-Identifier: Apache-2.0
//
// An evaluation in chunks of rows has the bits of the evaluation in one piece,
// however it is cut, or is refused with what to do.

#include "server/engine/row_stream.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/backend_under_test.h"
#include "tests/unit/engine/engine_test_support.h"

namespace lossd {
namespace {

using Slots = std::set<int>;

// How many rows the next chunk has, given those that are left.
using Cut = std::function<int64_t(int64_t)>;

Cut ByRows(int64_t rows) {
  return [=](int64_t left) { return std::min(rows, left); };
}

// The primes in turn, starting over at 31.
Cut ByPrimes() {
  return [next = size_t{0}](int64_t left) mutable {
    constexpr int64_t kPrimes[] = {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31};
    return std::min(kPrimes[next++ % std::size(kPrimes)], left);
  };
}

Evaluation HeadOf(const Evaluation& whole, const Slots& streamed) {
  Evaluation head = whole;
  for (int slot : streamed) head.arguments.tensors[slot].data = nullptr;
  return head;
}

// What a stream came to, its gradients put together.
struct Streamed {
  Violations violations;
  Result result;
  bool finished = false;
};

void Append(const RowStream::Gradients& chunk, Result* result,
            std::vector<std::string>* bytes) {
  bytes->resize(std::max(bytes->size(), chunk.tensors.size()));
  result->gradients.resize(bytes->size());
  for (size_t i = 0; i < chunk.tensors.size(); ++i) {
    result->gradients[i].wrt = chunk.tensors[i].wrt;
    (*bytes)[i].append(
        reinterpret_cast<const char*>(chunk.tensors[i].data.data()),
        static_cast<size_t>(chunk.tensors[i].bytes));
  }
}

// Streams `whole`, each chunk from memory of its own.
Streamed Stream(const Evaluation& whole, const Slots& slots, const Cut& cut,
                const Engine& engine = DefaultEngine()) {
  Streamed streamed;
  auto stream =
      RowStream::Create(engine, HeadOf(whole, slots), &streamed.violations);
  EXPECT_EQ(stream == nullptr, !streamed.violations.empty());
  if (stream == nullptr) return streamed;
  std::vector<std::string> gradients;
  Result rows;
  int64_t given = 0;
  for (int64_t row = 0; row < stream->rows();) {
    RowStream::Chunk chunk = {.rows = cut(stream->rows() - row), .data = {}};
    std::vector<AlignedBuffer> memory;
    for (int slot : slots) {
      const int64_t size = stream->RowBytes(slot);
      memory.emplace_back(std::max<int64_t>(1, size * chunk.rows));
      if (size > 0) {
        std::memcpy(memory.back().data(),
                    whole.arguments.tensor(slot).data + row * size,
                    static_cast<size_t>(size * chunk.rows));
      }
      chunk.data[slot] = memory.back().data();
    }
    RowStream::Gradients part;
    if (!stream->Feed(chunk, &part, &streamed.violations)) {
      EXPECT_FALSE(streamed.violations.empty());
      return streamed;
    }
    Append(part, &rows, &gradients);
    given += part.rows;
    row += chunk.rows;
    EXPECT_EQ(stream->rows_fed(), row);
  }
  Task& task = stream->Finish();
  EXPECT_TRUE(task.violations.empty());
  streamed.finished = true;
  streamed.result = std::move(task.result);
  for (size_t i = 0; i < gradients.size(); ++i) {
    OwnedTensor value;
    value.data = AlignedBuffer(static_cast<int64_t>(gradients[i].size()));
    std::copy(gradients[i].begin(), gradients[i].end(), value.data.data());
    streamed.result.gradients.push_back(
        {rows.gradients[i].wrt, std::move(value)});
  }
  if (!gradients.empty()) {
    EXPECT_EQ(given, stream->rows());
  }
  return streamed;
}

Result RunWhole(const Evaluation& evaluation,
                const Engine& engine = DefaultEngine()) {
  Violations violations;
  std::unique_ptr<Task> task = engine.Prepare(evaluation, &violations);
  if (task == nullptr) {
    ADD_FAILURE() << violations.kept()[0].description;
    return Result();
  }
  Task* tasks[] = {task.get()};
  engine.Run(tasks);
  EXPECT_TRUE(task->violations.empty());
  return std::move(task->result);
}

// Equal to the bit. Shapes of gradients are left to the caller of a stream.
void ExpectSame(Result whole, const Streamed& streamed) {
  ASSERT_TRUE(streamed.violations.empty())
      << streamed.violations.kept()[0].description;
  ASSERT_TRUE(streamed.finished);
  for (GradientValue& each : whole.gradients) {
    each.value.shape.clear();
    each.value.dtype = Dtype::kUnspecified;
  }
  EXPECT_EQ(Digest(streamed.result), Digest(whole));
}

// The case with its samples repeated, so that an elementwise loss has several
// leaves.
SampleCase Repeated(SampleCase each, int64_t times) {
  for (SampleCase::Piece& piece : each.pieces) {
    if (!piece.sliced) continue;
    const std::vector<double> once = piece.values;
    for (int64_t i = 1; i < times; ++i) {
      piece.values.insert(piece.values.end(), once.begin(), once.end());
    }
    piece.shape[0] *= times;
  }
  each.samples *= times;
  return each;
}

bool IsClassWeight(const TestEvaluation& evaluation, int slot) {
  return evaluation.schema().tensors[slot].role == TensorRole::kWeight &&
         evaluation.Make().arguments.tensor(slot).shape.size() == 1;
}

// Every tensor that has the samples in dimension 0 and does not broadcast.
Slots Streamable(const TestEvaluation& evaluation) {
  Slots slots;
  const Evaluation whole = evaluation.Make();
  Violations violations;
  const Geometry geometry = whole.loss->plan(whole.arguments, &violations);
  for (int slot = 0; slot < kMaxTensors; ++slot) {
    if (!whole.arguments.has(slot) || IsClassWeight(evaluation, slot)) continue;
    if (geometry.row_loss ||
        whole.arguments.tensor(slot).shape == geometry.loss_shape) {
      slots.insert(slot);
    }
  }
  return slots;
}

// Those of `slots` with a gradient.
std::vector<std::string> Differentiable(const TestEvaluation& evaluation,
                                        const Slots& slots) {
  std::vector<std::string> names;
  for (int slot : slots) {
    const TensorSchema& tensor = evaluation.schema().tensors[slot];
    if (tensor.differentiable &&
        IsFloating(evaluation.Make().arguments.tensor(slot).dtype)) {
      names.emplace_back(tensor.name);
    }
  }
  return names;
}

class RowStreamTest : public testing::TestWithParam<Dtype> {
 protected:
  static std::vector<SampleCase> Cases() {
    std::vector<SampleCase> cases;
    for (const SampleCase& each : SampleCases(GetParam())) {
      if (each.loss != "ctc_loss")
        cases.push_back(Repeated(each, RepetitionsUnderTest(40, 12)));
    }
    return cases;
  }
};

TEST_P(RowStreamTest, EveryLossHasTheSameBitsForAnyCut) {
  for (const SampleCase& each : Cases()) {
    TestEvaluation evaluation = each.All();
    const Slots slots = Streamable(evaluation);
    evaluation.Gradient(Differentiable(evaluation, slots));
    evaluation.options.normalizer = 7.5;
    const Evaluation whole = evaluation.Make();
    const Cut cuts[] = {ByRows(each.samples), ByRows(205), ByPrimes(),
                        ByRows(2), ByRows(1)};
    for (int64_t i = 0; i < RepetitionsUnderTest(std::size(cuts), 3); ++i) {
      SCOPED_TRACE(absl::StrCat(each.name, " cut ", i));
      ExpectSame(RunWhole(whole), Stream(whole, slots, cuts[i]));
    }
  }
}

TEST_P(RowStreamTest, WhatIsInTheHeadIsSlicedOrSharedAsTheLossNeedsIt) {
  for (const SampleCase& each : Cases()) {
    SCOPED_TRACE(each.name);
    TestEvaluation evaluation = each.All();
    const Slots first = {*Streamable(evaluation).begin()};
    evaluation.Gradient(Differentiable(evaluation, first));
    const Evaluation whole = evaluation.Make();
    const Cut cuts[] = {ByRows(each.samples), ByRows(101), ByPrimes(),
                        ByRows(1)};
    for (int64_t i = 0; i < RepetitionsUnderTest(std::size(cuts), 2); ++i) {
      ExpectSame(RunWhole(whole), Stream(whole, first, cuts[i]));
    }
  }
}

TEST_P(RowStreamTest, TheSumAndALossWithoutGradientsStreamToo) {
  for (const SampleCase& each : Cases()) {
    SCOPED_TRACE(each.name);
    TestEvaluation evaluation = each.All();
    evaluation.Reduce(Reduction::kSum);
    const Evaluation whole = evaluation.Make();
    ExpectSame(RunWhole(whole),
               Stream(whole, Streamable(evaluation), ByRows(47)));
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, RowStreamTest,
                         testing::Values(Dtype::kFloat16, Dtype::kBfloat16,
                                         Dtype::kFloat32, Dtype::kFloat64),
                         [](const auto& info) {
                           return std::string(DtypeName(info.param));
                         });

TEST(RowStreamLosses, EachIsStreamedOrRefused) {
  for (const SampleCase& each : SampleCases(Dtype::kFloat32)) {
    SCOPED_TRACE(each.name);
    TestEvaluation evaluation = each.All();
    evaluation.options.normalizer = 2;
    const Streamed streamed = Stream(evaluation.Make(), {0}, ByRows(3));
    EXPECT_EQ(streamed.finished, each.loss != "ctc_loss");
    if (streamed.finished) continue;
    EXPECT_EQ(OnlyRefusal(streamed.violations, Reason::kOptionInvalid,
                          "evaluation.ctc_loss"),
              "ctc_loss cannot be streamed, because dimension 0 of log_probs "
              "is not the batch's: split the evaluation by samples.");
  }
}

std::vector<double> Ramp(int64_t count, double low, double high) {
  std::vector<double> values;
  for (int64_t i = 0; i < count; ++i) {
    values.push_back(low + (high - low) * static_cast<double>(i * 37 % count) /
                               static_cast<double>(count));
  }
  return values;
}

TEST(RowStreamShapes, PositionsBehindTheClassesStream) {
  TestEvaluation evaluation("cross_entropy");
  std::vector<double> target;
  for (int i = 0; i < 7 * 6; ++i) target.push_back(i % 4);
  evaluation.Set("input", Floats({7, 4, 2, 3}, Ramp(7 * 24, -5, 5)))
      .Set("target", Indices({7, 2, 3}, target))
      .Gradient();
  evaluation.options.normalizer = 3;
  for (int64_t rows : {1, 2, 5, 7}) {
    SCOPED_TRACE(rows);
    ExpectSame(RunWhole(evaluation.Make()),
               Stream(evaluation.Make(), {0, 1}, ByRows(rows)));
  }
}

TEST(RowStreamShapes, RowsLongerThanALeafAndOfOneElementStream) {
  for (const Shape& shape : {Shape{5, 3000}, Shape{3000}, Shape{4, 1024},
                             Shape{3, 2, 700}, Shape{2, 1025}}) {
    const int64_t count = ElementCount(shape).value();
    TestEvaluation evaluation("mse_loss");
    evaluation.Set("input", Floats(shape, Ramp(count, -5, 5)))
        .Set("target", Floats(shape, Ramp(count, 3, -2)))
        .Gradient({"target", "input"});
    for (const Cut& cut : {ByRows(1), ByRows(2), ByPrimes(), ByRows(1023),
                           ByRows(1024), ByRows(shape[0])}) {
      SCOPED_TRACE(ShapeName(shape));
      ExpectSame(RunWhole(evaluation.Make()),
                 Stream(evaluation.Make(), {0, 1}, cut));
    }
  }
}

TEST(RowStreamShapes, NothingStreamsAsNothing) {
  for (const Shape& shape : {Shape{0, 4}, Shape{3, 0}, Shape{0}}) {
    SCOPED_TRACE(ShapeName(shape));
    TestEvaluation evaluation("mse_loss");
    evaluation.Set("input", Floats(shape, {}))
        .Set("target", Floats(shape, {}))
        .Gradient();
    Result whole = RunWhole(evaluation.Make());
    // No chunk, no gradients.
    if (shape[0] == 0) whole.gradients.clear();
    ExpectSame(std::move(whole), Stream(evaluation.Make(), {0, 1}, ByRows(2)));
  }
}

TEST(RowStreamShapes, WeightsThatBroadcastStayInTheHead) {
  const Shape shape = {40, 7, 9};
  const int64_t count = 40 * 63;
  for (const Shape& weight :
       {Shape{9}, Shape{7, 1}, Shape{40, 1, 9}, Shape{}, Shape{1, 7, 9}}) {
    SCOPED_TRACE(ShapeName(weight));
    TestEvaluation evaluation("binary_cross_entropy_with_logits");
    evaluation.Set("input", Floats(shape, Ramp(count, -5, 5)))
        .Set("target", Floats(shape, Ramp(count, 0, 1)))
        .Set("pos_weight",
             Floats(weight, Ramp(ElementCount(weight).value(), 0.5, 2)))
        .Gradient();
    for (const Cut& cut : {ByRows(1), ByPrimes()}) {
      ExpectSame(RunWhole(evaluation.Make()),
                 Stream(evaluation.Make(), {0, 1}, cut));
    }
  }
}

TEST(RowStreamGradients, OtherDtypesAndScalesHaveTheSameBits) {
  for (Dtype dtype : {Dtype::kFloat16, Dtype::kFloat64}) {
    TestEvaluation evaluation("smooth_l1_loss");
    evaluation.Set("input", Floats({500, 5}, Ramp(2500, -1e-3, 1e-3)))
        .Set("target", Filled(Dtype::kFloat32, {500, 5}, 0))
        .GradOutput(Floats({}, {-0.1}))
        .Gradient();
    evaluation.options.gradient_dtype = dtype;
    const Result whole = RunWhole(evaluation.Make());
    if (dtype == Dtype::kFloat16) {
      EXPECT_GT(*whole.gradient_underflow_count, 0);
    }
    ExpectSame(RunWhole(evaluation.Make()),
               Stream(evaluation.Make(), {0, 1}, ByRows(17)));
  }
}

TEST(RowStreamGradients, ComeAsSoonAsTheirRowsAreComplete) {
  TestEvaluation evaluation("mse_loss");
  evaluation.Set("input", Floats({8, 500}, Ramp(4000, -5, 5)))
      .Set("target", Floats({8, 500}, Ramp(4000, 3, -2)))
      .Gradient();
  const Evaluation whole = evaluation.Make();
  Violations violations;
  auto stream =
      RowStream::Create(DefaultEngine(), HeadOf(whole, {0, 1}), &violations);
  ASSERT_NE(stream, nullptr);
  std::vector<int64_t> given;
  for (int64_t row = 0; row < 8; ++row) {
    RowStream::Chunk chunk = {.rows = 1, .data = {}};
    for (size_t slot : {0, 1}) {
      chunk.data[slot] = whole.arguments.tensors[slot].data + row * 2000;
    }
    RowStream::Gradients gradients;
    ASSERT_TRUE(stream->Feed(chunk, &gradients, &violations));
    given.push_back(gradients.rows);
  }
  // Leaves end at 1024, 2048 and 3072 elements.
  EXPECT_EQ(given, (std::vector<int64_t>{0, 0, 2, 0, 2, 0, 2, 2}));
}

TEST(RowStreamCounts, WeightsThatAreStreamedAreCountedForTheAnswer) {
  TestEvaluation evaluation("l1_loss");
  evaluation.Set("input", Floats({700, 3}, Ramp(2100, -5, 5)))
      .Set("target", Floats({700, 3}, Ramp(2100, 3, -2)))
      .Set("weight", Floats({700, 3}, Ramp(2100, 0.1, 0.7)))
      .Reduce(Reduction::kSum)
      .Gradient({"input", "weight"});
  ExpectSame(RunWhole(evaluation.Make()),
             Stream(evaluation.Make(), {0, 1, 2}, ByPrimes()));
}

TEST(RowStreamFindings, NonFiniteValuesAreFlaggedOnce) {
  std::vector<double> values = Ramp(3000, -5, 5);
  values[2999] = std::numeric_limits<double>::infinity();
  values[1500] = std::nan("");
  TestEvaluation evaluation("mse_loss");
  evaluation.Set("input", Floats({1000, 3}, values))
      .Set("target", Floats({1000, 3}, Ramp(3000, 3, -2)))
      .Gradient();
  const Streamed streamed = Stream(evaluation.Make(), {0, 1}, ByRows(100));
  ExpectSame(RunWhole(evaluation.Make()), streamed);
  EXPECT_TRUE(streamed.result.non_finite.input_nan);
  EXPECT_TRUE(streamed.result.non_finite.input_infinity);
}

// --- What is refused

TestEvaluation Classes() {
  TestEvaluation evaluation("cross_entropy");
  evaluation.Set("input", Floats({6, 3}, Ramp(18, -5, 5)))
      .Set("target", Indices({6}, {0, 1, 2, 0, 1, 2}));
  return evaluation;
}

std::string Refusal(const TestEvaluation& evaluation, const Slots& slots,
                    Reason reason, const std::string& field) {
  return OnlyRefusal(Stream(evaluation.Make(), slots, ByRows(2)).violations,
                     reason, field);
}

TEST(RowStreamRefusal, AMeanWhoseDenominatorIsStreamedNeedsANormalizer) {
  EXPECT_TRUE(absl::StrContains(
      Refusal(Classes(), {0, 1}, Reason::kOptionInvalid,
              "evaluation.normalizer"),
      "depends on what is streamed: set normalizer, use REDUCTION_SUM"));
  TestEvaluation weighted("mse_loss");
  weighted.Set("input", Floats({2}, {1, 2}))
      .Set("target", Floats({2}, {1, 2}))
      .Set("weight", Floats({2}, {1, 2}));
  Refusal(weighted, {0, 2}, Reason::kOptionInvalid, "evaluation.normalizer");
  // Counted in the head it is known.
  EXPECT_TRUE(Stream(weighted.Make(), {0, 1}, ByRows(1)).finished);
}

TEST(RowStreamRefusal, OptionsThatNeedTheWholeAreNamed) {
  EXPECT_TRUE(
      absl::StrContains(Refusal(Classes().Reduce(Reduction::kNone), {0},
                                Reason::kOptionInvalid, "evaluation.reduction"),
                        "cannot be streamed"));
  for (Output output : {Output::kElementwiseLosses, Output::kProbabilities,
                        Output::kLogProbabilities, Output::kPredictedClasses}) {
    EXPECT_TRUE(
        absl::StrContains(Refusal(Classes().Ask({output, Output::kLoss}), {0},
                                  Reason::kOptionInvalid, "evaluation.outputs"),
                          "OUTPUT_LOSS and OUTPUT_GRADIENTS only"));
  }
  TestEvaluation validating = Classes();
  validating.options.validate_only = true;
  Refusal(validating, {0}, Reason::kOptionInvalid, "evaluation.validate_only");
  EXPECT_TRUE(absl::StrContains(
      Refusal(Classes(), {}, Reason::kOptionInvalid, "evaluation"),
      "nothing is streamed"));
}

TEST(RowStreamRefusal, OneSampleHasNoRows) {
  TestEvaluation evaluation("cross_entropy");
  evaluation.Set("input", Floats({3}, {1, 2, 3}))
      .Set("target", Indices({}, {1}));
  EXPECT_TRUE(absl::StrContains(Refusal(evaluation, {0}, Reason::kShapeMismatch,
                                        "evaluation.cross_entropy.input"),
                                "Add a dimension of samples in front"));
}

TEST(RowStreamRefusal, TensorsWithoutTheRowsBelongInTheHead) {
  TestEvaluation classes = Classes();
  classes.Set("weight", Floats({3}, {1, 2, 3})).Reduce(Reduction::kSum);
  EXPECT_EQ(Refusal(classes, {0, 2}, Reason::kTensorMissing,
                    "evaluation.cross_entropy.weight"),
            "weight is the same for all rows: send its content in the head.");
  TestEvaluation broadcast("binary_cross_entropy");
  broadcast.Set("input", Filled(Dtype::kFloat32, {6, 3}, 0.5))
      .Set("target", Filled(Dtype::kFloat32, {6, 3}, 0.5))
      .Set("weight", Filled(Dtype::kFloat32, {6, 1}, 0.5));
  EXPECT_EQ(Refusal(broadcast, {0, 2}, Reason::kTensorMissing,
                    "evaluation.binary_cross_entropy.weight"),
            "weight has shape [6, 1], but only tensors of the losses' shape "
            "[6, 3] can be streamed: send its content in the head.");
}

TEST(RowStreamRefusal, GradientsOfWhatIsNotStreamed) {
  TestEvaluation evaluation("mse_loss");
  evaluation.Set("input", Floats({2}, {1, 2}))
      .Set("target", Floats({2}, {1, 2}))
      .Gradient({"input", "target"});
  EXPECT_EQ(Refusal(evaluation, {0}, Reason::kOptionInvalid, "wrt"),
            "the gradient with respect to target cannot be streamed, because "
            "target is not: stream it, or name other tensors in wrt.");
}

TEST(RowStreamRefusal, ABadTargetIsNamedByItsPlaceInTheWhole) {
  TestEvaluation evaluation("cross_entropy");
  evaluation.Set("input", Floats({6, 3}, Ramp(18, -5, 5)))
      .Set("target", Indices({6}, {0, 1, 2, 0, 1, 9}))
      .Reduce(Reduction::kSum);
  EXPECT_EQ(Refusal(evaluation, {0, 1}, Reason::kTargetOutOfRange,
                    "evaluation.cross_entropy.target"),
            "target[5] = 9 is outside [0, 3): input of shape [6, 3] has C = 3 "
            "classes. 1 of 2 targets is out of range. Counted in rows 4 to 5.");
}

TEST(RowStreamRefusal, AValueOutsideItsDomainIsNamedByItsPlaceInTheWhole) {
  std::vector<double> values(4000, 0.5);
  values[3901] = 1.5;
  TestEvaluation evaluation("binary_cross_entropy");
  evaluation.Set("input", Floats({400, 10}, values))
      .Set("target", Filled(Dtype::kFloat32, {400, 10}, 1));
  const std::string refusal =
      Refusal(evaluation, {0, 1}, Reason::kValueOutOfRange,
              "evaluation.binary_cross_entropy.input");
  EXPECT_TRUE(
      absl::StartsWith(refusal, "input[390, 1] = 1.5 is outside [0, 1]"))
      << refusal;
  EXPECT_TRUE(absl::EndsWith(refusal, "Counted in rows 307 to 399."))
      << refusal;
}

TEST(RowStreamLimits, HoldForAChunkAndNotForTheWhole) {
  EngineLimits limits;
  limits.max_elements = 100;
  limits.max_operations = 5000;
  limits.max_response_bytes = 400;
  limits.max_scratch_bytes = 1 << 20;
  const Engine engine = MakeEngine(limits);
  TestEvaluation evaluation("mse_loss");
  evaluation.Set("input", Floats({1000, 5}, Ramp(5000, -5, 5)))
      .Set("target", Floats({1000, 5}, Ramp(5000, 3, -2)))
      .Gradient();
  ExpectSame(RunWhole(evaluation.Make()),
             Stream(evaluation.Make(), {0, 1}, ByRows(20), engine));
  const Violations violations =
      Stream(evaluation.Make(), {0, 1}, ByRows(21), engine).violations;
  ASSERT_FALSE(violations.empty());
  EXPECT_EQ(violations.kept()[0].reason, Reason::kLimitExceeded);
  EXPECT_TRUE(absl::EndsWith(violations.kept()[0].description,
                             "Send fewer rows in a chunk."));
}

TEST(RowStreamTest, AHeadBeyondAllNumbersIsRefused) {
  Evaluation head;
  head.loss = FindLoss("mse_loss");
  head.arguments.parameters.resize(head.loss->schema.parameters.size());
  for (TensorView* tensor :
       {&head.arguments.tensors[0], &head.arguments.tensors[1]}) {
    tensor->dtype = Dtype::kFloat64;
    tensor->shape = {int64_t{1} << 42, int64_t{1} << 20};
    tensor->elements = int64_t{1} << 62;
  }
  head.gradient = true;
  Violations violations;
  EXPECT_EQ(RowStream::Create(DefaultEngine(), head, &violations), nullptr);
  ASSERT_FALSE(violations.empty());
  EXPECT_EQ(violations.kept()[0].reason, Reason::kLimitExceeded);
}

}  // namespace
}  // namespace lossd
