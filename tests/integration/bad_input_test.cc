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

std::vector<BadInput> BadInputs() {
  std::vector<BadInput> inputs = BadTensors();
  for (const auto& more : {BadTargets(), BadValuesAndOptions()}) {
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
