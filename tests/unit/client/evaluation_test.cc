// SPDX-License-Identifier: Apache-2.0
#include "client/cli/evaluation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "client/cli/command_line.h"
#include "client/cli/npy.h"
#include "client/cli/schema.h"
#include "lossd/tensor.h"
#include "tests/unit/client/fake_loss_service.h"

namespace lossd::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class EvaluationTest : public ::testing::Test {
 protected:
  absl::StatusOr<v1::ComputeGradientRequest> Build(
      const std::vector<std::string>& arguments) {
    auto line = ParseCommandLine(arguments);
    if (!line.ok()) return line.status();
    const LossOptions& options = std::get<CommandLine>(*line).loss;
    const v1::LossDescriptor* descriptor =
        FindDescriptor(losses_, options.loss);
    return BuildGradientRequest(
        options, descriptor != nullptr ? *descriptor : v1::LossDescriptor(),
        source_);
  }

  std::string Error(const std::vector<std::string>& arguments) {
    return std::string(Build(arguments).status().message());
  }

  // Writes an npy file and returns its path.
  std::string Npy(const std::string& name, const v1::Tensor& tensor) {
    const std::string path = ::testing::TempDir() + "/" + name + ".npy";
    std::ofstream(path, std::ios::binary) << *EncodeNpy(tensor);
    return path;
  }

  const v1::ListLossesResponse losses_ = SomeLosses();
  std::istringstream input_{"[[1, 2], [3, 4]]"};
  Source source_{input_};
};

TEST_F(EvaluationTest, IntegersForAFloatingTargetBecomeFloats) {
  auto request = Build({"grad", "binary_cross_entropy_with_logits", "--input",
                        "[-1.5, 2]", "--target", "[0, 1]"});
  ASSERT_TRUE(request.ok()) << request.status();
  const auto& loss = request->evaluation().binary_cross_entropy_with_logits();
  EXPECT_THAT(*CopyTensor<float>(loss.input()), ElementsAre(-1.5, 2));
  EXPECT_THAT(*CopyTensor<float>(loss.target()), ElementsAre(0, 1));
}

TEST_F(EvaluationTest, ADtypeFlagDecidesForItsTensor) {
  auto request =
      Build({"grad", "binary_cross_entropy_with_logits", "--input", "[-1.5, 2]",
             "--target", "[0, 1]", "--target-dtype", "int64"});
  ASSERT_TRUE(request.ok()) << request.status();
  const auto& loss = request->evaluation().binary_cross_entropy_with_logits();
  EXPECT_EQ(loss.input().dtype(), v1::DTYPE_FLOAT32);
  EXPECT_THAT(*CopyTensor<int64_t>(loss.target()), ElementsAre(0, 1));
}

TEST_F(EvaluationTest, IntegersForClassIndicesBecomeInt64) {
  auto request = Build({"grad", "cross_entropy", "--input",
                        "[[1, 2], [3, 4], [5, 6]]", "--target", "[1, 0, 1]"});
  ASSERT_TRUE(request.ok()) << request.status();
  const auto& loss = request->evaluation().cross_entropy();
  EXPECT_EQ(loss.input().dtype(), v1::DTYPE_FLOAT32);
  EXPECT_THAT(loss.input().shape(), ElementsAre(3, 2));
  EXPECT_THAT(*CopyTensor<int64_t>(loss.target()), ElementsAre(1, 0, 1));
  request =
      Build({"grad", "cross_entropy", "--input", "[1, 2]", "--target", "1"});
  EXPECT_THAT(
      *CopyTensor<int64_t>(request->evaluation().cross_entropy().target()),
      ElementsAre(1));
}

TEST_F(EvaluationTest, IntegersOfTheInputsShapeAreProbabilities) {
  auto request = Build({"grad", "cross_entropy", "--input", "[[1, 2], [3, 4]]",
                        "--target", "[[0, 1], [1, 0]]", "--dtype", "float64"});
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_THAT(
      *CopyTensor<double>(request->evaluation().cross_entropy().target()),
      ElementsAre(0, 1, 1, 0));
}

TEST_F(EvaluationTest, AnIntegerOnlyTargetOfTheInputsShapeIsInt64) {
  auto request =
      Build({"eval", "nll_loss", "--input", "[-1, -2]", "--target", "[0, 1]"});
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->evaluation().nll_loss().target().dtype(), v1::DTYPE_INT64);
}

TEST_F(EvaluationTest, FloatsForAnIntegerTargetAreLeftToTheServer) {
  auto request =
      Build({"eval", "nll_loss", "--input", "[-1, -2]", "--target", "[0.5]"});
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->evaluation().nll_loss().target().dtype(),
            v1::DTYPE_FLOAT32);
}

TEST_F(EvaluationTest, TruthValuesForAMaskAreBool) {
  auto request = Build({"grad", "clipped_policy_loss", "--log_probs",
                        "[[-1, -2]]", "--old_log_probs", "[[-1, -2]]",
                        "--advantages", "[1]", "--mask", "[[true, false]]"});
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->evaluation().clipped_policy_loss().mask().dtype(),
            v1::DTYPE_BOOL);
}

TEST_F(EvaluationTest, EveryDtypeOptionIsTaken) {
  for (const auto& [name, dtype] : {std::pair("float16", v1::DTYPE_FLOAT16),
                                    std::pair("bfloat16", v1::DTYPE_BFLOAT16),
                                    std::pair("FLOAT32", v1::DTYPE_FLOAT32),
                                    std::pair("float64", v1::DTYPE_FLOAT64)}) {
    auto request =
        Build({"eval", "mse_loss", "--input", "[1.5]", "--dtype", name});
    ASSERT_TRUE(request.ok()) << request.status();
    EXPECT_EQ(request->evaluation().mse_loss().input().dtype(), dtype);
  }
  EXPECT_THAT(Error({"eval", "mse_loss", "--dtype", "int64"}),
              HasSubstr("not floating"));
  EXPECT_THAT(Error({"eval", "mse_loss", "--dtype", "float8"}),
              HasSubstr("none of float16"));
}

TEST_F(EvaluationTest, NpyFilesSetTheDtype) {
  const std::string wide = Npy("wide", MakeTensor<double>({1, 2}, {2}));
  const std::string narrow = Npy("narrow", MakeTensor<float>({1, 2}, {2}));
  const std::string bytes = Npy("bytes", MakeTensor<uint8_t>({1, 0}, {2}));
  auto request = Build({"grad", "binary_cross_entropy_with_logits", "--input",
                        wide, "--target", "[0, 1]"});
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(
      request->evaluation().binary_cross_entropy_with_logits().target().dtype(),
      v1::DTYPE_FLOAT64);
  EXPECT_THAT(Error({"grad", "binary_cross_entropy_with_logits", "--input",
                     wide, "--target", "@" + narrow}),
              HasSubstr("say which with --dtype"));
  request = Build({"grad", "cross_entropy", "--input", "[[1, 2], [3, 4]]",
                   "--target", bytes});
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->evaluation().cross_entropy().target().dtype(),
            v1::DTYPE_UINT8);
}

TEST_F(EvaluationTest, StandardInputIsReadOnce) {
  auto request = Build({"eval", "mse_loss", "--input", "-"});
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_THAT(request->evaluation().mse_loss().input().shape(),
              ElementsAre(2, 2));
  EXPECT_THAT(Error({"eval", "mse_loss", "--input", "-"}),
              HasSubstr("only once"));
}

TEST_F(EvaluationTest, FilesThatAreNotThereAreNamed) {
  EXPECT_THAT(Error({"eval", "mse_loss", "--input", "missing.npy"}),
              HasSubstr("--input: cannot open missing.npy: No such file"));
}

TEST_F(EvaluationTest, ParametersOfEveryTypeAreSet) {
  auto request = Build({"grad", "triplet_margin_loss", "--margin", "-1", "--p",
                        "inf", "--swap", "--eps=1e-3"});
  ASSERT_TRUE(request.ok()) << request.status();
  const auto& triplet = request->evaluation().triplet_margin_loss();
  EXPECT_EQ(triplet.margin(), -1);
  EXPECT_TRUE(std::isinf(triplet.p()));
  EXPECT_EQ(triplet.eps(), 1e-3);
  EXPECT_TRUE(triplet.swap());
  request = Build({"grad", "cross_entropy", "--ignore-index", "-100",
                   "--label_smoothing", "0.1"});
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->evaluation().cross_entropy().ignore_index(), -100);
  EXPECT_EQ(request->evaluation().cross_entropy().label_smoothing(), 0.1);
  request = Build({"grad", "clipped_policy_loss", "--aggregation",
                   "sequence_mean_token_sum", "--objective", "CISPO"});
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->evaluation().clipped_policy_loss().aggregation(),
            v1::ClippedPolicyLoss::AGGREGATION_SEQUENCE_MEAN_TOKEN_SUM);
  EXPECT_EQ(request->evaluation().clipped_policy_loss().objective(),
            v1::ClippedPolicyLoss::OBJECTIVE_CISPO);
}

TEST_F(EvaluationTest, GeneralOptionsAreSet) {
  auto request =
      Build({"grad", "mse_loss", "--reduction", "sum", "--normalizer", "8",
             "--device", "cpu", "--outputs", "loss, elementwise_losses",
             "--wrt", "input, target", "--grad-output", "[1, 2]",
             "--gradient-dtype", "float64"});
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->evaluation().reduction(), v1::REDUCTION_SUM);
  EXPECT_EQ(request->evaluation().normalizer(), 8);
  EXPECT_EQ(request->evaluation().device(), v1::DEVICE_CPU);
  EXPECT_THAT(request->evaluation().outputs(),
              ElementsAre(v1::OUTPUT_LOSS, v1::OUTPUT_ELEMENTWISE_LOSSES));
  EXPECT_THAT(request->wrt(), ElementsAre("input", "target"));
  EXPECT_THAT(*CopyTensor<float>(request->grad_output()), ElementsAre(1, 2));
  EXPECT_EQ(request->gradient_dtype(), v1::DTYPE_FLOAT64);
}

TEST_F(EvaluationTest, WrongValuesNameTheirFlag) {
  EXPECT_THAT(Error({"grad", "cross_entropy", "--label_smoothing", "much"}),
              HasSubstr("--label_smoothing: 'much' is not a number"));
  EXPECT_THAT(Error({"grad", "cross_entropy", "--ignore_index", "1.5"}),
              HasSubstr("--ignore_index: '1.5' is not an integer"));
  EXPECT_THAT(Error({"grad", "triplet_margin_loss", "--swap", "maybe"}),
              HasSubstr("neither true nor false"));
  EXPECT_THAT(Error({"grad", "clipped_policy_loss", "--objective", "PPO"}),
              HasSubstr("none of clipped, cispo, importance_sampling"));
  EXPECT_THAT(Error({"grad", "mse_loss", "--reduction", "avg"}),
              HasSubstr("--reduction: 'avg' is none of none, mean, sum"));
  EXPECT_THAT(Error({"grad", "mse_loss", "--input"}),
              HasSubstr("--input: needs a value"));
  EXPECT_THAT(Error({"grad", "mse_loss", "--input", "[1]", "--input", "[2]"}),
              HasSubstr("given twice"));
  EXPECT_THAT(Error({"grad", "mse_loss", "--input", "[1, oops]"}),
              HasSubstr("--input: not a number or nested lists"));
  EXPECT_THAT(Error({"grad", "mse_loss", "--normalizer", "x"}),
              HasSubstr("--normalizer"));
}

TEST_F(EvaluationTest, AnUnknownFlagNamesTheNearestAndAllOfThem) {
  const std::string error =
      Error({"grad", "cross_entropy", "--label-smothing", "0.1"});
  EXPECT_THAT(error, HasSubstr("did you mean --label_smoothing?"));
  EXPECT_THAT(error, HasSubstr("tensors: --input, --target, --weight"));
  EXPECT_THAT(error,
              HasSubstr("parameters: --ignore_index, --label_smoothing"));
  EXPECT_THAT(Error({"grad", "mse_loss", "--reductoin", "sum"}),
              HasSubstr("did you mean --reduction?"));
}

TEST_F(EvaluationTest, AnUnknownLossNamesTheNearestAndAllOfThem) {
  const std::string error = Error({"grad", "mse_los"});
  EXPECT_THAT(error, HasSubstr("did you mean mse_loss?"));
  EXPECT_THAT(error, HasSubstr("triplet_margin_loss"));
}

TEST_F(EvaluationTest, NoFieldOfALossIsNamedLikeAnOption) {
  for (const std::string& loss : LossNames()) {
    const auto& message = *(*FindLoss(loss))->message_type();
    for (int i = 0; i < message.field_count(); ++i) {
      auto line = ParseCommandLine(
          {"grad", loss, "--" + message.field(i)->name(), "info"});
      ASSERT_TRUE(line.ok()) << line.status();
      const auto& flags = std::get<CommandLine>(*line).loss.flags;
      ASSERT_EQ(flags.size(), 1u) << message.field(i)->full_name();
      EXPECT_EQ(flags[0].value, "info");
    }
  }
}

}  // namespace
}  // namespace lossd::cli
