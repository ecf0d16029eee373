// SPDX-License-Identifier: Apache-2.0

#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpcpp/client_context.h"
#include "gtest/gtest.h"
#include "tests/integration/test_server.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// An evaluation that must be refused, and how.
struct BadInput {
  std::string name;
  std::string evaluation;
  std::string reason;
  std::string field;
  std::vector<std::string> words;
};

void PrintTo(const BadInput& input, std::ostream* out) { *out << input.name; }

std::vector<BadInput> BadTensors() {
  return {
      {"DataOfAnotherLength",
       R"({"mse_loss": {"target": {"values": [1, 2, 3]},
           "input": {"dtype": "DTYPE_FLOAT32", "shape": ["3"],
                     "data": "AAAAAAAAAAAAAAA="}}})",
       "LENGTH_MISMATCH",
       "evaluation.mse_loss.input.data",
       {"input has 11 bytes of data, but shape [3] of float32 needs 12 (3 "
        "elements of 4 bytes)"}},
      {"NegativeShape",
       R"({"mse_loss": {"target": {"values": [1]},
           "input": {"dtype": "DTYPE_FLOAT32", "shape": ["-1"], "data": ""}}})",
       "SHAPE_MISMATCH",
       "evaluation.mse_loss.input",
       {"input has shape [-1]", "dimension 0 is -1"}},
      {"OverflowingShape",
       R"({"mse_loss": {"target": {"values": [1]},
           "input": {"dtype": "DTYPE_FLOAT32",
                     "shape": ["4294967296", "4294967296"], "data": ""}}})",
       "SHAPE_MISMATCH",
       "evaluation.mse_loss.input",
       {"input has shape [4294967296, 4294967296]", "overflows"}},
      {"UnknownDtype",
       R"({"mse_loss": {"target": {"values": [1]},
           "input": {"dtype": 42, "values": [1]}}})",
       "DTYPE_MISMATCH",
       "evaluation.mse_loss.input",
       {"input has the dtype number 42"}},
      {"MissingTensor",
       R"({"cross_entropy": {"input": {"values": [[1, 2]]}}})",
       "TENSOR_MISSING",
       "evaluation.cross_entropy.target",
       {"target is missing: cross_entropy needs it."}},
  };
}

std::vector<BadInput> BadTargets() {
  return {
      {"TargetOutOfRange",
       R"({"cross_entropy": {
           "input": {"values": [[0.1], [0.2], [0.3]]},
           "target": {"values": [0, 1, 0]}}})",
       "TARGET_OUT_OF_RANGE",
       "evaluation.cross_entropy.target",
       {"target[1] = 1 is outside [0, 1): input of shape [3, 1] has C = 1 "
        "class.",
        "1 of 3 targets", "binary_cross_entropy_with_logits"}},
      {"IntegerTargetForBce",
       R"({"binary_cross_entropy_with_logits": {
           "input": {"values": [-1.5, 0.5]},
           "target": {"dtype": "DTYPE_INT64", "values": [0, 1]}}})",
       "DTYPE_MISMATCH",
       "evaluation.binary_cross_entropy_with_logits.target",
       {"target has dtype int64, but binary_cross_entropy_with_logits needs "
        "the dtype of input (float32): send 0 and 1 as float32."}},
      {"ClassProbabilitiesOfAnotherShape",
       R"({"cross_entropy": {
           "input": {"values": [[1, 2, 3], [4, 5, 6]]},
           "target": {"values": [[0.5, 0.5], [0.5, 0.5]]}}})",
       "SHAPE_MISMATCH",
       "evaluation.cross_entropy.target",
       {"target", "[2, 2]", "[2, 3]"}},
      {"WeightOfTheWrongLength",
       R"({"cross_entropy": {
           "input": {"values": [[1, 2, 3], [4, 5, 6]]},
           "weight": {"values": [1, 1]}, "target": {"values": [0, 1]}}})",
       "SHAPE_MISMATCH",
       "evaluation.cross_entropy.weight",
       {"weight", "[2]", "3"}},
  };
}

std::vector<BadInput> BadValuesAndOptions() {
  return {
      {"LabelSmoothingOutsideItsRange",
       R"({"cross_entropy": {"label_smoothing": 1.5,
           "input": {"values": [[1, 2]]}, "target": {"values": [0]}}})",
       "PARAMETER_OUT_OF_RANGE",
       "evaluation.cross_entropy.label_smoothing",
       {"label_smoothing = 1.5 is outside [0, 1]"}},
      {"ProbabilityOutsideItsRange",
       R"({"binary_cross_entropy": {
           "input": {"values": [0.5, 0.25, 1.5]},
           "target": {"values": [0, 1, 1]}}})",
       "VALUE_OUT_OF_RANGE",
       "evaluation.binary_cross_entropy.input",
       {"input[2] = 1.5 is outside [0, 1]", "1 of 3 values",
        "binary_cross_entropy_with_logits"}},
      {"NanWhereARangeIsNeeded",
       R"({"binary_cross_entropy": {
           "input": {"values": ["NaN", 0.25]}, "target": {"values": [0, 1]}}})",
       "VALUE_OUT_OF_RANGE",
       "evaluation.binary_cross_entropy.input",
       {"input[0] = nan is outside [0, 1]"}},
      {"IgnoreIndexWithProbabilities",
       R"({"cross_entropy": {"ignore_index": "1",
           "input": {"values": [[1, 2]]},
           "target": {"values": [[0.5, 0.5]]}}})",
       "PARAMETER_OUT_OF_RANGE",
       "evaluation.cross_entropy.ignore_index",
       {"ignore_index"}},
      {"LossNotSet",
       "{}",
       "LOSS_NOT_SET",
       "evaluation.loss",
       {"no loss is set: set one of binary_cross_entropy, "}},
      {"FractionAsClassIndex",
       R"({"cross_entropy": {"input": {"values": [[1, 2], [3, 4]]},
           "target": {"dtype": "DTYPE_INT64", "values": [1, 0.5]}}})",
       "VALUE_INVALID",
       "evaluation.cross_entropy.target.values",
       {"target[1] = 0.5 is not an integer, but dtype is int64."}},
      {"NormalizerWithASum",
       R"({"reduction": "REDUCTION_SUM", "normalizer": 2, "mse_loss": {
           "input": {"values": [1]}, "target": {"values": [1]}}})",
       "OPTION_INVALID",
       "evaluation.normalizer",
       {"normalizer"}},
      {"GradientsOfComputeLoss",
       R"({"outputs": ["OUTPUT_GRADIENTS"], "mse_loss": {
           "input": {"values": [1]}, "target": {"values": [1]}}})",
       "OPTION_INVALID",
       "evaluation.outputs",
       {"ComputeGradient"}},
  };
}

std::vector<BadInput> BadSequences() {
  return {
      {"InputLengthBeyondTheTimeSteps",
       R"({"ctc_loss": {
           "log_probs": {"values": [[[-1, -1, -1]], [[-1, -1, -1]]]},
           "targets": {"values": [[1, 2]]},
           "input_lengths": {"values": [3]},
           "target_lengths": {"values": [2]}}})",
       "TARGET_OUT_OF_RANGE",
       "evaluation.ctc_loss.input_lengths",
       {"input_lengths[0] = 3 is outside [0, 2]: log_probs of shape [2, 1, 3] "
        "has T = 2 time steps. 1 of 1 lengths is out of range."}},
      {"TargetLengthBeyondTheLabels",
       R"({"ctc_loss": {
           "log_probs": {"values": [[-1, -1, -1], [-1, -1, -1]]},
           "targets": {"values": [1, 2]},
           "input_lengths": {"values": 2},
           "target_lengths": {"values": -1}}})",
       "TARGET_OUT_OF_RANGE",
       "evaluation.ctc_loss.target_lengths",
       {"target_lengths = -1 is outside [0, 2]: targets of shape [2] has 2 "
        "labels for all sequences. 1 of 1 lengths is out of range."}},
      {"TargetLengthsThatDoNotAddUp",
       R"({"ctc_loss": {
           "log_probs": {"values": [[[-1, -1], [-1, -1]]]},
           "targets": {"values": [1, 1, 1]},
           "input_lengths": {"values": [1, 1]},
           "target_lengths": {"values": [1, 1]}}})",
       "SHAPE_MISMATCH",
       "evaluation.ctc_loss.targets",
       {"targets has 3 labels, but target_lengths add up to 2"}},
      {"LabelThatIsTheBlank",
       R"({"ctc_loss": {
           "log_probs": {"values": [[[-1, -1, -1]], [[-1, -1, -1]]]},
           "targets": {"values": [[1, 0]]},
           "input_lengths": {"values": [2]},
           "target_lengths": {"values": [2]}}})",
       "TARGET_OUT_OF_RANGE",
       "evaluation.ctc_loss.targets",
       {"targets[0, 1] = 0 is outside [0, 3) or is the blank", "blank = 0",
        "1 of 2 labels is out of range."}},
      {"BlankThatIsNoClass",
       R"({"ctc_loss": {"blank": "2",
           "log_probs": {"values": [[-1, -1]]}, "targets": {"values": [1]},
           "input_lengths": {"values": 1}, "target_lengths": {"values": 1}}})",
       "PARAMETER_OUT_OF_RANGE",
       "evaluation.ctc_loss.blank",
       {"blank = 2 is outside [0, 2): log_probs of shape [1, 2] has C = 2 "
        "classes."}},
  };
}

std::vector<BadInput> BadShapes() {
  return {
      {"TargetThatPyTorchBroadcasts",
       R"({"l1_loss": {"input": {"values": [[1], [2], [3]]},
                       "target": {"values": [1, 2, 3]}}})",
       "SHAPE_MISMATCH",
       "evaluation.l1_loss.target",
       {"target has shape [3], but input has shape [3, 1]: l1_loss needs equal "
        "shapes and does not broadcast."}},
      {"ScoresThatDoNotBroadcast",
       R"({"margin_ranking_loss": {"input1": {"values": [[1], [2]]},
           "input2": {"values": [[1, 2, 3]]},
           "target": {"values": [[1, 1]]}}})",
       "SHAPE_MISMATCH",
       "evaluation.margin_ranking_loss.target",
       {"target has shape [1, 2], but input1 and input2 broadcast to shape [2, "
        "3]"}},
      {"VarianceOfAnotherShape",
       R"({"gaussian_nll_loss": {"input": {"values": [[1, 2, 3], [4, 5, 6]]},
           "target": {"values": [[1, 2, 3], [4, 5, 6]]},
           "var": {"values": [1, 1, 1]}}})",
       "SHAPE_MISMATCH",
       "evaluation.gaussian_nll_loss.var",
       {"var has shape [3], but input has shape [2, 3]: gaussian_nll_loss "
        "needs that shape"}},
  };
}

std::vector<BadInput> BadChoices() {
  return {
      {"NegativeVariance",
       R"({"gaussian_nll_loss": {"input": {"values": [[1, 2], [3, 4]]},
           "target": {"values": [[1, 2], [3, 4]]},
           "var": {"values": [1, -0.25]}}})",
       "VALUE_OUT_OF_RANGE",
       "evaluation.gaussian_nll_loss.var",
       {"var[1] = -0.25 is outside [0, inf]", "1 of 2 values",
        "exp(log_variance)"}},
      {"BatchMeanOfAnotherLoss",
       R"({"reduction": "REDUCTION_BATCHMEAN", "poisson_nll_loss": {
           "input": {"values": [1]}, "target": {"values": [1]}}})",
       "OPTION_INVALID",
       "evaluation.reduction",
       {"reduction = REDUCTION_BATCHMEAN goes with kl_div only: "
        "poisson_nll_loss has REDUCTION_NONE, REDUCTION_MEAN and "
        "REDUCTION_SUM."}},
      {"DeltaOfZero",
       R"({"huber_loss": {"delta": 0, "input": {"values": [1]},
                          "target": {"values": [1]}}})",
       "PARAMETER_OUT_OF_RANGE",
       "evaluation.huber_loss.delta",
       {"delta = 0 is outside (0, inf]."}},
      {"MultilabelTargetOutOfRange",
       R"({"multilabel_margin_loss": {"input": {"values": [[1, 2, 3]]},
                                      "target": {"values": [[0, 3, -1]]}}})",
       "TARGET_OUT_OF_RANGE",
       "evaluation.multilabel_margin_loss.target",
       {"target[0, 1] = 3 is outside [-1, 3)",
        "Pad each row of target with -1."}},
      {"UnknownDistance",
       R"({"triplet_margin_with_distance_loss": {"distance_function": 99,
           "anchor": {"values": [1]}, "positive": {"values": [1]},
           "negative": {"values": [1]}}})",
       "PARAMETER_OUT_OF_RANGE",
       "evaluation.triplet_margin_with_distance_loss.distance_function",
       {"distance_function has the number 99", "CHEBYSHEV"}},
  };
}

std::vector<BadInput> BadInputs() {
  std::vector<BadInput> inputs = BadTensors();
  for (const auto& more : {BadTargets(), BadValuesAndOptions(), BadSequences(),
                           BadShapes(), BadChoices()}) {
    inputs.insert(inputs.end(), more.begin(), more.end());
  }
  return inputs;
}

class BadInputTest : public testing::TestWithParam<BadInput> {
 protected:
  static void SetUpTestSuite() { server_ = new TestServer; }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }

  static grpc::Status Call(const v1::ComputeLossRequest& request) {
    grpc::ClientContext context;
    v1::ComputeLossResponse response;
    return server_->NewStub()->ComputeLoss(&context, request, &response);
  }
  static void ExpectThatTheServerGoesOn() {
    EXPECT_TRUE(Call(FromJson<v1::ComputeLossRequest>(kSmallRequest)).ok());
  }

  static TestServer* server_;
};

TestServer* BadInputTest::server_ = nullptr;

TEST_P(BadInputTest, IsRefusedInWordsThatHelp) {
  const BadInput& input = GetParam();
  const grpc::Status status = Call(FromJson<v1::ComputeLossRequest>(
      absl::StrCat("{\"evaluation\": ", input.evaluation, "}")));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  const ErrorDetails details = DetailsOf(status);
  EXPECT_EQ(details.info.reason(), input.reason);
  EXPECT_EQ(details.info.domain(), "lossd.dev");
  EXPECT_NE(details.info.metadata().at("version"), "");
  ASSERT_GE(details.bad_request.field_violations_size(), 1);
  const auto& violation = details.bad_request.field_violations(0);
  EXPECT_EQ(violation.field(), input.field);
  EXPECT_THAT(violation.description(),
              StartsWith(absl::StrCat("[", input.reason, "] ")));
  for (const std::string& words : input.words) {
    EXPECT_THAT(violation.description(), HasSubstr(words));
    EXPECT_THAT(status.error_message(), HasSubstr(words));
  }
  ExpectThatTheServerGoesOn();
}

INSTANTIATE_TEST_SUITE_P(Every, BadInputTest, testing::ValuesIn(BadInputs()),
                         [](const auto& info) { return info.param.name; });

using OtherBadInputTest = BadInputTest;

TEST_F(OtherBadInputTest, AnUnknownFieldIsAFailedPrecondition) {
  auto request = FromJson<v1::ComputeLossRequest>(kSmallRequest);
  auto* loss = request.mutable_evaluation()->mutable_mse_loss();
  loss->GetReflection()->MutableUnknownFields(loss)->AddVarint(9, 1);
  const grpc::Status status = Call(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(),
              HasSubstr("field number 9 of lossd.v1.MseLoss is unknown to this "
                        "server (lossd "));
  const ErrorDetails details = DetailsOf(status);
  EXPECT_EQ(details.info.reason(), "UNKNOWN_FIELD");
  EXPECT_NE(details.info.metadata().at("version"), "");
  EXPECT_EQ(details.bad_request.field_violations(0).field(),
            "evaluation.mse_loss");
  ExpectThatTheServerGoesOn();
}

TEST_F(OtherBadInputTest, AnUnknownHintIsIgnored) {
  auto request = FromJson<v1::ComputeLossRequest>(kSmallRequest);
  auto* hints = request.mutable_evaluation()->mutable_hints();
  hints->GetReflection()->MutableUnknownFields(hints)->AddVarint(99, 1);
  EXPECT_TRUE(Call(request).ok());
}

TEST_F(OtherBadInputTest, AnAbsentDeviceIsAFailedPrecondition) {
  auto request = FromJson<v1::ComputeLossRequest>(kSmallRequest);
  request.mutable_evaluation()->set_device(v1::DEVICE_CUDA);
  const grpc::Status status = Call(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(DetailsOf(status).info.reason(), "DEVICE_UNAVAILABLE");
}

TEST_F(OtherBadInputTest, TenThousandBadTargetsGiveOneGoodError) {
  v1::ComputeLossRequest request;
  auto* loss = request.mutable_evaluation()->mutable_cross_entropy();
  loss->mutable_input()->set_dtype(v1::DTYPE_FLOAT32);
  loss->mutable_input()->add_shape(10000);
  loss->mutable_input()->add_shape(2);
  loss->mutable_input()->set_data(std::string(80000, '\0'));
  loss->mutable_target()->set_dtype(v1::DTYPE_UINT8);
  loss->mutable_target()->add_shape(10000);
  loss->mutable_target()->set_data(std::string(10000, '\7'));
  const grpc::Status status = Call(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(),
              HasSubstr("target[0] = 7 is outside [0, 2)"));
  EXPECT_THAT(status.error_message(), HasSubstr("10000 of 10000 targets"));
  EXPECT_LE(absl::Base64Escape(status.error_details()).size() +
                status.error_message().size(),
            4096);
}

// 0.8 MB of scores, 1e10 pairs.
TEST_F(OtherBadInputTest, ASmallRequestForALargeAnswerIsOverALimit) {
  v1::ComputeLossRequest request;
  request.mutable_evaluation()->set_reduction(v1::REDUCTION_NONE);
  auto* loss = request.mutable_evaluation()->mutable_margin_ranking_loss();
  const auto set = [](v1::Tensor* tensor, int64_t rows, int64_t columns) {
    tensor->set_dtype(v1::DTYPE_FLOAT32);
    tensor->add_shape(rows);
    tensor->add_shape(columns);
    tensor->set_data(std::string(4 * rows * columns, '\0'));
  };
  set(loss->mutable_input1(), 20000, 1);
  set(loss->mutable_input2(), 1, 20000);
  set(loss->mutable_target(), 1, 1);
  const grpc::Status status = Call(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  const ErrorDetails details = DetailsOf(status);
  EXPECT_EQ(details.info.reason(), "LIMIT_EXCEEDED");
  EXPECT_EQ(details.info.metadata().at("limit"), "67108864");
  EXPECT_EQ(details.info.metadata().at("actual"), "1600000000");
  EXPECT_EQ(details.bad_request.field_violations(0).field(),
            "evaluation.outputs");
  ExpectThatTheServerGoesOn();
}

TEST_F(OtherBadInputTest, EveryMistakeOfOneRequestIsToldAtOnce) {
  const grpc::Status status = Call(FromJson<v1::ComputeLossRequest>(
      R"({"evaluation": {"reduction": "REDUCTION_BATCHMEAN", "normalizer": -1,
          "multi_margin_loss": {"p": "3", "margin": "NaN",
                                "input": {"values": [[1, 2]]},
                                "target": {"dtype": "DTYPE_FLOAT32",
                                           "values": [1]}}}})"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  std::vector<std::string> fields;
  const ErrorDetails details = DetailsOf(status);
  for (const auto& each : details.bad_request.field_violations()) {
    fields.push_back(each.field());
  }
  EXPECT_THAT(fields, testing::ElementsAre(
                          "evaluation.multi_margin_loss.target",
                          "evaluation.multi_margin_loss.p",
                          "evaluation.multi_margin_loss.margin",
                          "evaluation.reduction", "evaluation.normalizer"));
}

TEST_F(OtherBadInputTest, ValuesAreWithheldOnRequest) {
  TestServer server({"--withhold-values"});
  grpc::ClientContext context;
  v1::ComputeLossResponse response;
  const grpc::Status status =
      server.NewStub()->ComputeLoss(&context,
                                    FromJson<v1::ComputeLossRequest>(
                                        R"({"evaluation": {"cross_entropy": {
              "input": {"values": [[1, 2]]}, "target": {"values": [4711]}}}})"),
                                    &response);
  EXPECT_EQ(DetailsOf(status).info.reason(), "TARGET_OUT_OF_RANGE");
  EXPECT_THAT(status.error_message(), testing::Not(HasSubstr("4711")));
}

}  // namespace
}  // namespace lossd
