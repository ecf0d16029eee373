// SPDX-License-Identifier: Apache-2.0
//
// Every loss against exact values, in each dtype, within the bounds below; and
// docs/accuracy.md against what is measured. LOSSD_WRITE_ACCURACY=FILE writes
// the page instead.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <limits>
#include <memory>
#include <set>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/accuracy/accuracy_case.h"
#include "tests/accuracy/accuracy_page.h"
#include "tests/unit/engine/engine_test_support.h"

namespace lossd {
namespace {

// The largest error that is allowed, in last places: 0.51 where the result is
// computed in double and rounded once, 4 where it is computed in the dtype.
struct Bounds {
  const char* loss;
  double float16;
  double bfloat16;
  double float32;
  double float64;
};
constexpr Bounds kInDouble = {"", 0.51, 0.51, 0.51, 4};
// The losses whose bounds are others: those computed in lanes of float, and
// those where exponentials of long sums magnify what the sums lost, within
// 1e-13 of the value.
constexpr Bounds kBounds[] = {
    {"binary_cross_entropy_with_logits", 0.51, 0.51, 4, 4},
    {"cross_entropy", 0.51, 0.51, 4, 4},
    {"ctc_loss", 0.51, 0.51, 0.51, 450},
    {"huber_loss", 0.51, 0.51, 4, 4},
    {"l1_loss", 0.51, 0.51, 4, 4},
    {"mse_loss", 0.51, 0.51, 4, 4},
    {"smooth_l1_loss", 0.51, 0.51, 4, 4},
    {"triplet_margin_loss", 0.51, 0.51, 0.51, 450},
};

// The dtype's significant digits, and the exponent of its least normal number.
struct Format {
  Dtype dtype;
  double Bounds::*bound;
  int digits;
  int least;
  double maximum;
};
constexpr Format kFormats[] = {
    {Dtype::kFloat16, &Bounds::float16, 11, -14, 65504.0},
    {Dtype::kBfloat16, &Bounds::bfloat16, 8, -126, 0x1.fep127},
    {Dtype::kFloat32, &Bounds::float32, 24, -126, 0x1.fffffep127},
    {Dtype::kFloat64, &Bounds::float64, 53, -1022,
     std::numeric_limits<double>::max()},
};

const Format& FormatOf(Dtype dtype) {
  for (const Format& format : kFormats) {
    if (format.dtype == dtype) return format;
  }
  ADD_FAILURE() << "not a floating dtype";
  return kFormats[0];
}

const Bounds& BoundsOf(const std::string& loss) {
  for (const Bounds& bounds : kBounds) {
    if (bounds.loss == loss) return bounds;
  }
  return kInDouble;
}

// The last place of a number of that magnitude.
double Unit(double magnitude, const Format& format) {
  int exponent = format.least;
  if (magnitude > 0) {
    exponent =
        std::max(exponent, std::ilogb(std::min(magnitude, format.maximum)));
  }
  return std::ldexp(1.0, exponent - format.digits + 1);
}

double ErrorAt(double actual, const ExactTensor& exact, size_t i,
               const Format& format) {
  const double infinity = std::numeric_limits<double>::infinity();
  const double high = exact.high[i];
  const double too_large =
      format.maximum * (1 + std::ldexp(1.0, -(format.digits + 1)));
  if (std::abs(high) >= too_large) {
    return actual == std::copysign(infinity, high) ? 0.0 : infinity;
  }
  if (!std::isfinite(actual)) return infinity;
  return std::abs((actual - high) - exact.LowAt(i)) /
         Unit(exact.ScaleAt(i), format);
}

// Whether 0 is wrong whatever the bound: the value is a normal number, and no
// larger terms cancel in it.
bool MustNotVanish(const ExactTensor& exact, size_t i, const Format& format) {
  const double magnitude = std::abs(exact.high[i]);
  return magnitude >= std::ldexp(1.0, format.least) &&
         exact.ScaleAt(i) <= magnitude * (1 + 1e-6);
}

// The largest error of one tensor.
struct Worst {
  double error = 0;
  int64_t place = 0;
  double actual = 0;
  double exact = 0;
  bool vanished = false;  // some value is 0 that must not be
};

Worst Measure(const OwnedTensor& tensor, const ExactTensor& exact,
              const Format& format) {
  const TensorView view = ViewOf(tensor);
  EXPECT_EQ(view.dtype, format.dtype);
  if (exact.places.empty()) {
    EXPECT_EQ(view.elements, static_cast<int64_t>(exact.high.size()));
  }
  Worst worst;
  for (size_t i = 0; i < exact.high.size(); ++i) {
    const int64_t place =
        exact.places.empty() ? static_cast<int64_t>(i) : exact.places[i];
    if (place >= view.elements) break;
    const double actual = view.ValueAt(place);
    const double error = ErrorAt(actual, exact, i, format);
    const bool vanished = actual == 0 && MustNotVanish(exact, i, format);
    if (worst.vanished || (error <= worst.error && !vanished)) continue;
    worst = {error, place, actual, exact.high[i], vanished};
  }
  return worst;
}

// The worst of each of the case's exact tensors, through the engine; nothing
// where lossd refuses.
std::vector<Worst> Measure(const Engine& engine, const AccuracyCase& one) {
  std::vector<Worst> worst;
  Violations violations;
  std::unique_ptr<Task> task = engine.Prepare(one.evaluation, &violations);
  if (task != nullptr) {
    Task* tasks[] = {task.get()};
    engine.Run(tasks);
    violations = task->violations;
  }
  if (task == nullptr || !violations.empty()) {
    ADD_FAILURE() << one.name << " is refused: "
                  << (violations.empty() ? ""
                                         : violations.kept()[0].description);
    return worst;
  }
  const Format& format = FormatOf(one.dtype);
  const Result& result = task->result;
  worst.push_back(Measure(result.loss_tensor, one.exact[0], format));
  EXPECT_EQ(result.gradients.size() + 1, one.exact.size());
  for (size_t i = 0; i < result.gradients.size(); ++i) {
    EXPECT_EQ(result.gradients[i].wrt, one.exact[i + 1].wrt);
    worst.push_back(
        Measure(result.gradients[i].value, one.exact[i + 1], format));
  }
  return worst;
}

void ExpectWithin(double bound, const AccuracyCase& one,
                  const std::vector<Worst>& worst) {
  for (size_t i = 0; i < worst.size(); ++i) {
    const std::string& wrt = one.exact[i].wrt;
    EXPECT_TRUE(worst[i].error <= bound && !worst[i].vanished)
        << one.name << ": " << (wrt.empty() ? "loss" : "gradient of " + wrt)
        << " at " << worst[i].place
        << absl::StrFormat(" is %.17g, not %.17g", worst[i].actual,
                           worst[i].exact)
        << ": " << worst[i].error << " last places, of " << bound;
  }
}

void Merge(const std::optional<PyTorchFigures>& one,
           std::optional<PyTorchFigures>* all) {
  if (!one.has_value()) return;
  if (!all->has_value()) all->emplace();
  (*all)->Merge(*one);
}

// The rows of one loss, one a dtype; each error above its bound is a failure.
std::vector<AccuracyRow> MeasureLoss(const AccuracyFile& file) {
  std::vector<AccuracyRow> rows;
  const Bounds& bounds = BoundsOf(file.loss);
  if (FindLoss(file.loss) == nullptr) {
    ADD_FAILURE() << file.loss << " is no loss of lossd";
    return rows;
  }
  const Engine engine = MakeEngine();
  for (const Format& format : kFormats) {
    AccuracyRow row;
    row.loss = file.loss;
    row.dtype = format.dtype;
    row.digits = format.digits;
    row.bound = bounds.*format.bound;
    int cases = 0;
    for (const AccuracyCase& one : file.cases) {
      if (one.dtype != format.dtype) continue;
      ++cases;
      const std::vector<Worst> worst = Measure(engine, one);
      ExpectWithin(row.bound, one, worst);
      for (size_t i = 0; i < worst.size(); ++i) {
        double& error = i == 0 ? row.loss_error : row.gradient_error;
        error = std::max(error, worst[i].error);
        Merge(one.exact[i].pytorch,
              i == 0 ? &row.pytorch_loss : &row.pytorch_gradient);
      }
    }
    EXPECT_GE(cases, 3) << file.loss << " in " << DtypeName(format.dtype);
    rows.push_back(std::move(row));
  }
  return rows;
}

class AccuracyTest : public testing::TestWithParam<std::string> {};

TEST_P(AccuracyTest, IsWithinItsBoundInEveryDtype) {
  MeasureLoss(LoadAccuracyFile(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Accuracy, AccuracyTest,
                         testing::ValuesIn(AccuracyLosses()),
                         [](const auto& info) { return info.param; });

TEST(AccuracyTableTest, HasEveryLossOfPyTorch) {
  std::vector<std::string> losses;
  for (const LossDefinition* loss : AllLosses()) {
    if (loss->schema.name == "clipped_policy_loss") continue;
    losses.emplace_back(loss->schema.name);
  }
  EXPECT_EQ(AccuracyLosses(), losses);
  for (const Bounds& row : kBounds) EXPECT_NE(FindLoss(row.loss), nullptr);
}

TEST(AccuracyTableTest, HasEveryGradientOfEveryLoss) {
  for (const std::string& name : AccuracyLosses()) {
    const LossDefinition* loss = FindLoss(name);
    if (loss == nullptr) continue;  // the test above fails
    std::set<std::string> measured;
    for (const AccuracyCase& one : LoadAccuracyFile(name).cases) {
      measured.insert(one.evaluation.wrt.begin(), one.evaluation.wrt.end());
    }
    std::set<std::string> differentiable;
    for (const TensorSchema& tensor : loss->schema.tensors) {
      if (tensor.differentiable) differentiable.emplace(tensor.name);
    }
    EXPECT_EQ(measured, differentiable) << name;
  }
}

TEST(AccuracyPageTest, IsWhatIsMeasured) {
  std::vector<AccuracyRow> rows;
  std::vector<AccuracyRange> ranges;
  for (const std::string& loss : AccuracyLosses()) {
    const AccuracyFile file = LoadAccuracyFile(loss);
    for (AccuracyRow& row : MeasureLoss(file)) rows.push_back(std::move(row));
    ranges.push_back({file.loss, file.ranges});
  }
  const std::string page = AccuracyPage(rows, ranges);
  if (const char* path = std::getenv("LOSSD_WRITE_ACCURACY")) {
    std::ofstream(path) << page;
    return;
  }
  std::ifstream stream(LOSSD_ACCURACY_PAGE);
  const std::string committed(std::istreambuf_iterator<char>(stream), {});
  const std::vector<std::string> have = absl::StrSplit(committed, '\n');
  const std::vector<std::string> want = absl::StrSplit(page, '\n');
  for (size_t i = 0; i < std::min(have.size(), want.size()); ++i) {
    ASSERT_EQ(have[i], want[i])
        << "docs/accuracy.md, line " << i + 1
        << ": write it anew with LOSSD_WRITE_ACCURACY=docs/accuracy.md";
  }
  EXPECT_EQ(have.size(), want.size());
}

}  // namespace
}  // namespace lossd
