// SPDX-License-Identifier: Apache-2.0

#include "tests/unit/engine/engine_test_support.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/unit/engine/backend_under_test.h"

namespace lossd {
namespace {

std::string BytesOf(const OwnedTensor& tensor) {
  if (!tensor.present()) return "absent;";
  return absl::StrCat(
      DtypeName(tensor.dtype), ShapeName(tensor.shape),
      absl::string_view(reinterpret_cast<const char*>(tensor.data.data()),
                        static_cast<size_t>(tensor.data.size())),
      ";");
}

std::string BytesOf(double value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}

// Builds the sample cases from one seed.
class CaseMaker {
 public:
  CaseMaker(Dtype dtype, uint64_t seed) : dtype_(dtype), random_(seed) {}

  SampleCase::Piece Random(const std::string& tensor, const Shape& shape,
                           double low, double high, bool sliced = true) {
    std::uniform_real_distribution<double> uniform(low, high);
    std::vector<double> values(
        static_cast<size_t>(ElementCount(shape).value()));
    for (double& value : values) value = uniform(random_);
    return {tensor, dtype_, shape, values, sliced};
  }
  SampleCase::Piece Weight(const std::string& tensor, int64_t size) {
    return Random(tensor, {size}, 0.25, 2, false);
  }
  // Integers of [low, high].
  SampleCase::Piece Integers(const std::string& tensor, Dtype dtype,
                             const Shape& shape, int low, int high) {
    SampleCase::Piece piece = Random(tensor, shape, 0, 1);
    piece.dtype = dtype;
    for (double& value : piece.values) {
      value = low + std::floor(value * (high - low + 1));
    }
    return piece;
  }

 private:
  const Dtype dtype_;
  std::mt19937_64 random_;
};

void AddElementwise(CaseMaker* make, std::vector<SampleCase>* cases) {
  const Shape s = {19, 5};
  cases->push_back(
      {"mse",
       "mse_loss",
       s[0],
       {make->Random("input", s, -2, 2), make->Random("target", s, -2, 2)},
       {}});
  cases->push_back(
      {"mse_weighted",
       "mse_loss",
       s[0],
       {make->Random("input", s, -2, 2), make->Random("target", s, -2, 2),
        make->Random("weight", s, 0, 2)},
       {}});
  cases->push_back(
      {"bce",
       "binary_cross_entropy",
       s[0],
       {make->Random("input", s, 0.01, 0.99), make->Random("target", s, 0, 1),
        make->Weight("weight", 5)},
       {}});
  cases->push_back(
      {"bce_with_logits",
       "binary_cross_entropy_with_logits",
       s[0],
       {make->Random("input", s, -9, 9), make->Random("target", s, 0, 1),
        make->Random("weight", {s[0], 1}, 0, 2), make->Weight("pos_weight", 5)},
       {}});
}

void AddClasses(CaseMaker* make, std::vector<SampleCase>* cases) {
  const Shape s = {19, 7};
  const auto input = [&] { return make->Random("input", s, -9, 9); };
  const auto target = [&] {
    return make->Integers("target", Dtype::kInt64, {s[0]}, 0, 6);
  };
  cases->push_back({"ce", "cross_entropy", s[0], {input(), target()}, {}});
  cases->push_back({"ce_ignoring",
                    "cross_entropy",
                    s[0],
                    {input(), target(), make->Weight("weight", 7)},
                    {{"ignore_index", 3}}});
  cases->push_back({"ce_smoothed",
                    "cross_entropy",
                    s[0],
                    {input(), target(), make->Weight("weight", 7)},
                    {{"label_smoothing", 0.1}, {"ignore_index", 2}}});
  cases->push_back(
      {"ce_probabilities",
       "cross_entropy",
       s[0],
       {input(), make->Random("target", s, 0, 0.3), make->Weight("weight", 7)},
       {}});
  cases->push_back(
      {"nll",
       "nll_loss",
       s[0],
       {make->Random("input", s, -5, 0), target(), make->Weight("weight", 7)},
       {{"ignore_index", 1}}});
}

void AddLikelihoods(CaseMaker* make, std::vector<SampleCase>* cases) {
  const Shape s = {19, 5};
  cases->push_back(
      {"kl",
       "kl_div",
       s[0],
       {make->Random("input", s, -5, 0), make->Random("target", s, 0, 1)},
       {}});
  cases->push_back(
      {"poisson",
       "poisson_nll_loss",
       s[0],
       {make->Random("input", s, -2, 2), make->Random("target", s, 0, 9)},
       {{"full", 1}}});
  cases->push_back(
      {"gaussian",
       "gaussian_nll_loss",
       s[0],
       {make->Random("input", s, -2, 2), make->Random("target", s, -2, 2),
        make->Random("var", {s[0]}, 0.1, 2)},
       {{"full", 1}}});
}

void AddMargins(CaseMaker* make, std::vector<SampleCase>* cases) {
  const Shape s = {19, 5};
  const auto sign = [&](const Shape& shape) {
    SampleCase::Piece piece = make->Random("target", shape, -1, 1);
    for (double& value : piece.values) value = value < 0 ? -1 : 1;
    return piece;
  };
  const auto input = [&] { return make->Random("input", s, -2, 2); };
  cases->push_back({"ranking",
                    "margin_ranking_loss",
                    s[0],
                    {make->Random("input1", s, -2, 2),
                     make->Random("input2", {s[0], 1}, -2, 2), sign(s)},
                    {{"margin", 0.3}}});
  cases->push_back(
      {"hinge", "hinge_embedding_loss", s[0], {input(), sign(s)}, {}});
  cases->push_back({"cosine",
                    "cosine_embedding_loss",
                    s[0],
                    {make->Random("input1", s, -2, 2),
                     make->Random("input2", s, -2, 2), sign({s[0]})},
                    {{"margin", -0.5}}});
  cases->push_back(
      {"multi_margin",
       "multi_margin_loss",
       s[0],
       {input(), make->Integers("target", Dtype::kInt64, {s[0]}, 0, 4),
        make->Weight("weight", 5)},
       {{"p", 2}}});
  cases->push_back(
      {"multilabel",
       "multilabel_margin_loss",
       s[0],
       {input(), make->Integers("target", Dtype::kInt64, s, -1, 4)},
       {}});
  cases->push_back(
      {"multilabel_soft",
       "multilabel_soft_margin_loss",
       s[0],
       {input(), make->Random("target", s, 0, 1), make->Weight("weight", 5)},
       {}});
}

void AddSequences(CaseMaker* make, std::vector<SampleCase>* cases) {
  const Shape s = {8, 19, 5};
  const auto integers = [&](const std::string& name, const Shape& shape,
                            int low, int high) {
    return make->Integers(name, Dtype::kInt64, shape, low, high);
  };
  SampleCase::Piece log_probs = make->Random("log_probs", s, -5, 0);
  log_probs.axis = 1;
  cases->push_back({"ctc",
                    "ctc_loss",
                    s[1],
                    {log_probs, integers("targets", {s[1], 3}, 1, 4),
                     integers("input_lengths", {s[1]}, 6, 8),
                     integers("target_lengths", {s[1]}, 0, 3)},
                    {}});
}

void AddRows(CaseMaker* make, std::vector<SampleCase>* cases) {
  const Shape s = {11, 9};
  for (int aggregation = 1; aggregation <= 4; ++aggregation) {
    SampleCase policy = {absl::StrCat("policy_", aggregation),
                         "clipped_policy_loss",
                         s[0],
                         {make->Random("log_probs", s, -3, 0),
                          make->Random("old_log_probs", s, -3, 0),
                          make->Random("ref_log_probs", s, -3, 0),
                          make->Random("advantages", {s[0]}, -1, 1),
                          make->Integers("mask", Dtype::kBool, s, 0, 1)},
                         {{"kl_weight", 0.1}, {"aggregation", aggregation}}};
    if (aggregation == 4) policy.parameters.push_back({"max_length", 12});
    cases->push_back(policy);
  }
  for (const double p : {1.0, 2.0, 3.5}) {
    cases->push_back(
        {absl::StrCat("triplet_", p),
         "triplet_margin_loss",
         s[0],
         {make->Random("anchor", s, -2, 2), make->Random("positive", s, -2, 2),
          make->Random("negative", s, -2, 2)},
         {{"p", p}, {"swap", 1}}});
  }
  for (const double distance : {1, 2, 3, 4, 5}) {
    cases->push_back(
        {absl::StrCat("triplet_distance_", distance),
         "triplet_margin_with_distance_loss",
         s[0],
         {make->Random("anchor", s, -2, 2), make->Random("positive", s, -2, 2),
          make->Random("negative", s, -2, 2)},
         {{"distance_function", distance}, {"swap", 1}}});
  }
}

// A loss of no case of its own is taken to be elementwise.
void AddOthers(CaseMaker* make, std::vector<SampleCase>* cases) {
  const Shape s = {19, 5};
  std::set<std::string> covered;
  for (const SampleCase& each : *cases) covered.insert(each.loss);
  for (const LossDefinition* loss : AllLosses()) {
    const LossSchema& schema = loss->schema;
    if (covered.contains(std::string(schema.name))) continue;
    std::vector<SampleCase::Piece> pieces;
    for (const TensorSchema& tensor : schema.tensors) {
      const bool input = tensor.role == TensorRole::kInput;
      pieces.push_back(make->Random(std::string(tensor.name), s,
                                    input ? -2 : 0.25, input ? 2 : 1));
    }
    const std::string name(schema.name);
    cases->push_back({name, name, s[0], std::move(pieces), {}});
  }
}

}  // namespace

Engine MakeEngine(const EngineLimits& limits) {
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(MakeBackendUnderTest());
  const DeviceClass device = backends.back()->device_class();
  return Engine(limits, std::move(backends), device);
}

Engine MakeEngine(const EngineLimits& limits, DeviceClass default_device) {
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(MakeBackendUnderTest());
  return Engine(limits, std::move(backends), default_device);
}

const Engine& DefaultEngine() {
  static const Engine* const engine = new Engine(MakeEngine());
  return *engine;
}

Violations Refuse(const TestEvaluation& evaluation, const Engine& engine,
                  bool withhold_values) {
  Violations violations(withhold_values);
  std::unique_ptr<Task> task = engine.Prepare(evaluation.Make(), &violations);
  EXPECT_EQ(task == nullptr, !violations.empty());
  if (task == nullptr) return violations;
  Task* tasks[] = {task.get()};
  engine.Run(tasks);
  return task->violations;
}

std::string OnlyRefusal(const Violations& violations, Reason reason,
                        const std::string& field) {
  if (violations.count() != 1) {
    return absl::StrCat(violations.count(), " violations");
  }
  EXPECT_EQ(violations.kept()[0].reason, reason);
  EXPECT_EQ(violations.kept()[0].field, field);
  return violations.kept()[0].description;
}

std::unique_ptr<Task> RunTask(const TestEvaluation& evaluation) {
  Violations violations;
  std::unique_ptr<Task> task =
      DefaultEngine().Prepare(evaluation.Make(), &violations);
  if (task == nullptr) {
    ADD_FAILURE() << violations.kept()[0].description;
    return std::make_unique<Task>();
  }
  Task* tasks[] = {task.get()};
  DefaultEngine().Run(tasks);
  EXPECT_TRUE(task->violations.empty());
  return task;
}

Result Answer(const TestEvaluation& evaluation) {
  return std::move(RunTask(evaluation)->result);
}

std::vector<double> ValuesOf(const OwnedTensor& tensor) {
  EXPECT_TRUE(tensor.present());
  const TensorView view = ViewOf(tensor);
  std::vector<double> values;
  for (int64_t i = 0; i < view.elements; ++i) values.push_back(view.ValueAt(i));
  return values;
}

std::string Digest(const Result& result) {
  std::string digest = absl::StrCat(
      result.loss.has_value(), BytesOf(result.loss.value_or(0)),
      BytesOf(result.mean_numerator.value_or(-1)),
      BytesOf(result.mean_denominator), result.element_count, ",",
      result.ignored_count, ",", result.gradient_underflow_count.value_or(-1));
  const NonFinite& flags = result.non_finite;
  absl::StrAppend(&digest, flags.input_nan, flags.input_infinity,
                  flags.result_nan, flags.result_infinity);
  for (const MetricValue& metric : result.metrics) {
    absl::StrAppend(&digest, metric.name, BytesOf(metric.numerator),
                    BytesOf(metric.denominator));
  }
  for (const OwnedTensor* tensor :
       {&result.loss_tensor, &result.predicted_classes,
        &result.elementwise_losses, &result.probabilities,
        &result.log_probabilities}) {
    absl::StrAppend(&digest, BytesOf(*tensor));
  }
  for (const GradientValue& gradient : result.gradients) {
    absl::StrAppend(&digest, gradient.wrt, BytesOf(gradient.value));
  }
  return digest;
}

std::vector<double> Slice(const std::vector<double>& values, const Shape& shape,
                          size_t axis, int64_t begin, int64_t end) {
  int64_t inner = 1;
  for (size_t i = axis + 1; i < shape.size(); ++i) inner *= shape[i];
  std::vector<double> slice;
  for (size_t i = 0; i < values.size(); ++i) {
    const int64_t sample =
        static_cast<int64_t>(i) / inner % std::max<int64_t>(1, shape[axis]);
    if (sample >= begin && sample < end) slice.push_back(values[i]);
  }
  return slice;
}

size_t SampleCase::AxisOf(absl::string_view tensor) const {
  for (const Piece& piece : pieces) {
    if (piece.tensor == tensor) return piece.axis;
  }
  return 0;
}

TestEvaluation SampleCase::Rows(int64_t begin, int64_t end,
                                size_t offset) const {
  TestEvaluation evaluation(loss);
  for (const auto& [parameter, value] : parameters) {
    evaluation.Set(parameter, value);
  }
  for (const Piece& piece : pieces) {
    Shape shape = piece.shape;
    std::vector<double> values = piece.values;
    if (piece.sliced) {
      values = Slice(piece.values, piece.shape, piece.axis, begin, end);
      shape[piece.axis] = end - begin;
    }
    evaluation.Set(piece.tensor,
                   TestTensor(piece.dtype, shape, values, offset));
  }
  return evaluation;
}

std::vector<SampleCase> SampleCases(Dtype dtype, uint64_t seed) {
  CaseMaker make(dtype, seed);
  std::vector<SampleCase> cases;
  AddLikelihoods(&make, &cases);
  AddMargins(&make, &cases);
  AddSequences(&make, &cases);
  AddElementwise(&make, &cases);
  AddClasses(&make, &cases);
  AddRows(&make, &cases);
  AddOthers(&make, &cases);
  return cases;
}

}  // namespace lossd
