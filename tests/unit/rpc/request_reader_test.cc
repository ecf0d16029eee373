// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/request_reader.h"

#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/rpc/json_message.h"

namespace lossd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A request with what was read from it.
template <typename Request>
struct Reading {
  Request request;
  DecodedRequest decoded;
  Violations violations;

  const TensorView& tensor(int slot) const {
    return decoded.evaluation.arguments.tensor(slot);
  }
};

class RequestReaderTest : public testing::Test {
 protected:
  RequestReaderTest()
      : binding_(WireBinding::Create(AllLosses(), *v1::Evaluation::descriptor())
                     .value()),
        reader_(&binding_, 4, "0.1.0") {}

  template <typename Request = v1::ComputeLossRequest>
  std::unique_ptr<Reading<Request>> Read(const Request& request) {
    auto reading = std::make_unique<Reading<Request>>();
    reading->request = request;
    reader_.Read(reading->request, {}, &reading->decoded, &reading->violations);
    return reading;
  }
  template <typename Request = v1::ComputeLossRequest>
  std::unique_ptr<Reading<Request>> ReadJson(const std::string& evaluation) {
    return Read(
        FromJson<Request>(absl::StrCat("{\"evaluation\": ", evaluation, "}")));
  }
  // The only violation of an evaluation.
  Violation ReadBad(const std::string& evaluation) {
    const auto reading = ReadJson(evaluation);
    EXPECT_EQ(reading->violations.count(), 1) << evaluation;
    return reading->violations.empty() ? Violation()
                                       : reading->violations.kept()[0];
  }

  WireBinding binding_;
  RequestReader reader_;
};

// An mse_loss whose input and target are as given.
std::string Mse(const std::string& input, const std::string& target) {
  return absl::StrCat(R"({"mse_loss": {"input": )", input, R"(, "target": )",
                      target, "}}");
}

constexpr char kOne[] = R"({"values": [1]})";

TEST_F(RequestReaderTest, HandWrittenNumbersNeedNeitherDtypeNorShape) {
  const auto reading = ReadJson(R"({"cross_entropy": {
      "input": {"values": [[-0.278, 0.2306], [-0.3471, 0.2968]]},
      "target": {"values": [1, 0]}}})");
  ASSERT_TRUE(reading->violations.empty());
  EXPECT_EQ(reading->decoded.evaluation.loss->schema.name, "cross_entropy");
  EXPECT_EQ(reading->tensor(0).dtype, Dtype::kFloat32);
  EXPECT_THAT(reading->tensor(0).shape, ElementsAre(2, 2));
  EXPECT_EQ(reading->tensor(0).ValueAt(1), 0.2306f);
  EXPECT_EQ(reading->tensor(1).dtype, Dtype::kInt64);
  EXPECT_EQ(reading->tensor(1).IndexAt(0), 1);
  EXPECT_FALSE(reading->decoded.evaluation.arguments.has(2));
  EXPECT_TRUE(reading->decoded.answer_in_values);
}

TEST_F(RequestReaderTest, ClassProbabilitiesHaveTheShapeOfTheInput) {
  const auto reading = ReadJson(R"({"cross_entropy": {
      "input": {"dtype": "DTYPE_FLOAT64", "values": [[1, 2]]},
      "target": {"values": [[1, 0]]}}})");
  ASSERT_TRUE(reading->violations.empty());
  EXPECT_EQ(reading->tensor(1).dtype, Dtype::kFloat64);
}

TEST_F(RequestReaderTest, NumbersTakeTheDtypeOfTheLeadingTensor) {
  const auto reading =
      ReadJson(Mse(R"({"dtype": "DTYPE_BFLOAT16", "values": [1]})", kOne));
  ASSERT_TRUE(reading->violations.empty());
  EXPECT_EQ(reading->tensor(1).dtype, Dtype::kBfloat16);
}

TEST_F(RequestReaderTest, AMaskOfZerosAndOnesIsUint8) {
  const auto mask = [&](const std::string& numbers) {
    const auto reading = ReadJson(absl::StrCat(
        R"({"clipped_policy_loss": {"log_probs": {"values": [[-1, -1]]},
            "old_log_probs": {"values": [[-1, -1]]},
            "advantages": {"values": [1]}, "mask": {"values": )",
        numbers, "}}}"));
    EXPECT_TRUE(reading->violations.empty());
    for (const TensorView& tensor :
         reading->decoded.evaluation.arguments.tensors) {
      if (tensor.present() && tensor.dtype != Dtype::kFloat32) {
        return tensor.dtype;
      }
    }
    return Dtype::kFloat32;
  };
  EXPECT_EQ(mask("[[1, 0]]"), Dtype::kUint8);
  EXPECT_EQ(mask("[[true, false]]"), Dtype::kUint8);
  EXPECT_EQ(mask("[[1, 0.5]]"), Dtype::kFloat32);
}

TEST_F(RequestReaderTest, DataIsNotCopied) {
  v1::ComputeLossRequest request;
  auto* loss = request.mutable_evaluation()->mutable_mse_loss();
  for (auto* tensor : {loss->mutable_input(), loss->mutable_target()}) {
    tensor->set_dtype(v1::DTYPE_FLOAT32);
    tensor->add_shape(2);
    tensor->set_data(std::string(8, '\0'));
  }
  const auto reading = Read(request);
  ASSERT_TRUE(reading->violations.empty());
  const auto& wire = reading->request.evaluation().mse_loss();
  EXPECT_EQ(reading->tensor(0).data,
            reinterpret_cast<const uint8_t*>(wire.input().data().data()));
  EXPECT_EQ(reading->tensor(0).elements, 2);
  EXPECT_FALSE(reading->decoded.answer_in_values);
}

TEST_F(RequestReaderTest, OneTensorOfDataMakesTheAnswerData) {
  const auto reading = ReadJson(
      Mse(kOne,
          R"({"dtype": "DTYPE_FLOAT32", "shape": ["1"], "data": "AAAAAA=="})"));
  ASSERT_TRUE(reading->violations.empty());
  EXPECT_FALSE(reading->decoded.answer_in_values);
}

TEST_F(RequestReaderTest, ALossMustBeSet) {
  const Violation violation = ReadBad("{}");
  EXPECT_EQ(violation.reason, Reason::kLossNotSet);
  EXPECT_EQ(violation.field, "evaluation.loss");
  EXPECT_THAT(violation.description,
              HasSubstr("no loss is set: set one of binary_cross_entropy, "));
  EXPECT_EQ(Read(v1::ComputeLossRequest())->violations.kept().at(0).reason,
            Reason::kLossNotSet);
}

TEST_F(RequestReaderTest, RequiredTensorsMustBeThere) {
  const Violation violation =
      ReadBad(R"({"cross_entropy": {"input": {"values": [1]}}})");
  EXPECT_EQ(violation.reason, Reason::kTensorMissing);
  EXPECT_EQ(violation.field, "evaluation.cross_entropy.target");
  EXPECT_EQ(violation.description,
            "target is missing: cross_entropy needs it.");
}

TEST_F(RequestReaderTest, ATensorMustHaveContent) {
  const Violation violation = ReadBad(Mse(R"({"shape": ["1"]})", kOne));
  EXPECT_EQ(violation.reason, Reason::kTensorMissing);
  EXPECT_THAT(violation.description, HasSubstr("input has no content"));
}

TEST_F(RequestReaderTest, DataMustHaveItsLength) {
  const Violation violation = ReadBad(Mse(
      R"({"dtype": "DTYPE_FLOAT32", "shape": ["3"], "data": "AAAAAAAAAAAAAAA="})",
      kOne));
  EXPECT_EQ(violation.reason, Reason::kLengthMismatch);
  EXPECT_EQ(violation.field, "evaluation.mse_loss.input.data");
  EXPECT_EQ(violation.description,
            "input has 11 bytes of data, but shape [3] of float32 needs 12 (3 "
            "elements of 4 bytes).");
}

TEST_F(RequestReaderTest, DataMustHaveADtype) {
  const Violation violation =
      ReadBad(Mse(R"({"shape": ["1"], "data": "AAAAAA=="})", kOne));
  EXPECT_EQ(violation.reason, Reason::kDtypeMismatch);
  EXPECT_EQ(violation.description,
            "input has no dtype: it is required without values.");
}

TEST_F(RequestReaderTest, ADtypeMustBeKnown) {
  const Violation violation =
      ReadBad(Mse(R"({"dtype": 42, "values": [1]})", kOne));
  EXPECT_EQ(violation.reason, Reason::kDtypeMismatch);
  EXPECT_EQ(violation.field, "evaluation.mse_loss.input");
  EXPECT_THAT(violation.description, HasSubstr("the dtype number 42"));
}

TEST_F(RequestReaderTest, ShapesMustBePossible) {
  const auto shape = [&](const std::string& sizes) {
    return ReadBad(Mse(absl::StrCat(R"({"dtype": "DTYPE_FLOAT32", "shape": )",
                                    sizes, R"(, "data": ""})"),
                       kOne));
  };
  const Violation negative = shape(R"(["2", "-3"])");
  EXPECT_EQ(negative.reason, Reason::kShapeMismatch);
  EXPECT_EQ(negative.description,
            "input has shape [2, -3]: dimension 1 is -3, but a size is at "
            "least 0.");
  for (const char* sizes :
       {R"(["4294967296", "4294967296"])", R"(["9223372036854775807"])"}) {
    const Violation overflow = shape(sizes);
    EXPECT_EQ(overflow.reason, Reason::kShapeMismatch);
    EXPECT_THAT(overflow.description, HasSubstr("overflows 64 bits"));
  }
  const Violation deep = shape(R"(["1", "1", "1", "1", "1"])");
  EXPECT_EQ(deep.reason, Reason::kLimitExceeded);
  EXPECT_THAT(deep.description, HasSubstr("5 dimensions"));
}

TEST_F(RequestReaderTest, AStatedShapeMustAgreeWithTheNesting) {
  const Violation violation =
      ReadBad(Mse(R"({"shape": ["2", "2"], "values": [1, 2, 3, 4]})", kOne));
  EXPECT_EQ(violation.reason, Reason::kShapeMismatch);
  EXPECT_EQ(violation.description,
            "input has shape [2, 2], but its values are nested as [4].");
  EXPECT_TRUE(ReadJson(Mse(R"({"shape": ["0", "3"], "values": []})", kOne))
                  ->violations.empty());
}

TEST_F(RequestReaderTest, AFractionIsNoClassIndex) {
  const Violation violation = ReadBad(R"({"cross_entropy": {
      "input": {"values": [[1, 2], [3, 4]]},
      "target": {"dtype": "DTYPE_INT64", "values": [1, 0.5]}}})");
  EXPECT_EQ(violation.reason, Reason::kValueInvalid);
  EXPECT_EQ(violation.field, "evaluation.cross_entropy.target.values");
  EXPECT_EQ(violation.description,
            "target[1] = 0.5 is not an integer, but dtype is int64.");
}

TEST_F(RequestReaderTest, EverythingThatIsWrongIsReportedTogether) {
  const auto reading = ReadJson(R"({"reduction": 9, "outputs": [0, 77],
      "mse_loss": {"input": {"values": ["x"]}}})");
  std::vector<std::string> fields;
  for (const Violation& violation : reading->violations.kept()) {
    fields.push_back(violation.field);
  }
  EXPECT_THAT(fields,
              ElementsAre("evaluation.mse_loss.input.values",
                          "evaluation.mse_loss.target", "evaluation.reduction",
                          "evaluation.outputs[0]", "evaluation.outputs[1]"));
}

TEST_F(RequestReaderTest, ParametersAreReadByPresence) {
  const std::string tensors =
      R"("input": {"values": [1]}, "target": {"values": 0})";
  const auto unset =
      ReadJson(absl::StrCat(R"({"cross_entropy": {)", tensors, "}}"));
  EXPECT_THAT(unset->decoded.evaluation.arguments.parameters,
              ElementsAre(std::nullopt, std::nullopt));
  const auto zero = ReadJson(absl::StrCat(
      R"({"cross_entropy": {"ignore_index": "0", "label_smoothing": 0.25, )",
      tensors, "}}"));
  EXPECT_THAT(zero->decoded.evaluation.arguments.parameters,
              ElementsAre(0.0, 0.25));
}

TEST_F(RequestReaderTest, ParametersMustBeExactAndKnown) {
  const Violation inexact = ReadBad(
      R"({"cross_entropy": {"ignore_index": "9007199254740993",
          "input": {"values": [1]}, "target": {"values": 0}}})");
  EXPECT_EQ(inexact.reason, Reason::kParameterOutOfRange);
  EXPECT_EQ(inexact.field, "evaluation.cross_entropy.ignore_index");
  const Violation unknown = ReadBad(
      R"({"clipped_policy_loss": {"aggregation": 99,
          "log_probs": {"values": [[1]]}, "old_log_probs": {"values": [[1]]},
          "advantages": {"values": [1]}}})");
  EXPECT_EQ(unknown.reason, Reason::kParameterOutOfRange);
  EXPECT_EQ(unknown.field, "evaluation.clipped_policy_loss.aggregation");
  EXPECT_THAT(unknown.description, HasSubstr("TOKEN_MEAN"));
}

TEST_F(RequestReaderTest, HintsAreReadAndChecked) {
  const std::string loss = R"(, "mse_loss": {"input": {"values": [1]},
      "target": {"values": [1]}}})";
  const auto good = ReadJson(absl::StrCat(
      R"({"hints": {"request_id": "job 7", "priority": "PRIORITY_LOW"})",
      loss));
  EXPECT_TRUE(good->violations.empty());
  EXPECT_EQ(good->decoded.request_id, "job 7");
  EXPECT_TRUE(good->decoded.low_priority);
  const Violation control =
      ReadBad(absl::StrCat(R"({"hints": {"request_id": "a\nb"})", loss));
  EXPECT_EQ(control.field, "evaluation.hints.request_id");
  ReadBad(absl::StrCat(R"({"hints": {"request_id": ")", std::string(129, 'a'),
                       R"("})", loss));
}

TEST_F(RequestReaderTest, GradientOptionsAreRead) {
  const auto reading = Read(FromJson<v1::ComputeGradientRequest>(
      R"({"wrt": ["input", "target"], "gradient_dtype": "DTYPE_FLOAT64",
          "grad_output": {"values": 2}, "evaluation": {"normalizer": 3,
          "device": "DEVICE_ANY", "reduction": "REDUCTION_SUM",
          "outputs": ["OUTPUT_LOSS"], "mse_loss": {
          "input": {"dtype": "DTYPE_FLOAT16", "values": [1]},
          "target": {"values": [1]}}}})"));
  ASSERT_TRUE(reading->violations.empty());
  const Evaluation& evaluation = reading->decoded.evaluation;
  EXPECT_TRUE(evaluation.gradient);
  EXPECT_THAT(evaluation.wrt, ElementsAre("input", "target"));
  EXPECT_EQ(evaluation.gradient_dtype, Dtype::kFloat64);
  EXPECT_EQ(evaluation.grad_output.dtype, Dtype::kFloat16);
  EXPECT_THAT(evaluation.grad_output.shape, IsEmpty());
  EXPECT_EQ(evaluation.normalizer, 3);
  EXPECT_EQ(evaluation.device, DeviceClass::kAny);
  EXPECT_EQ(evaluation.reduction, Reduction::kSum);
  EXPECT_TRUE(evaluation.outputs.Has(Output::kLoss));
  EXPECT_FALSE(evaluation.outputs.Has(Output::kGradients));
}

TEST_F(RequestReaderTest, AnUnknownFieldIsAllThatIsReported) {
  v1::ComputeLossRequest request;
  auto* loss = request.mutable_evaluation()->mutable_cross_entropy();
  loss->GetReflection()->MutableUnknownFields(loss)->AddVarint(9, 1);
  const auto reading = Read(request);
  ASSERT_EQ(reading->violations.count(), 1);
  EXPECT_EQ(reading->violations.kept()[0].reason, Reason::kUnknownField);
}

}  // namespace
}  // namespace lossd
