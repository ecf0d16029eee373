// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/unknown_fields.h"

#include <string>

#include "google/protobuf/unknown_field_set.h"
#include "gtest/gtest.h"
#include "lossd/v1/loss_service.pb.h"

namespace lossd {
namespace {

using google::protobuf::Message;

void AddUnknown(Message* message, int number) {
  message->GetReflection()->MutableUnknownFields(message)->AddVarint(number, 1);
}

Violations Find(const Message& request) {
  Violations violations;
  FindUnknownFields(request, "0.1.0", &violations);
  return violations;
}

// The field of the only violation.
std::string OnlyField(const Message& request) {
  const Violations violations = Find(request);
  EXPECT_EQ(violations.count(), 1);
  return violations.empty() ? "none" : violations.kept()[0].field;
}

TEST(UnknownFieldsTest, ARequestWithoutThemIsGood) {
  v1::ComputeGradientRequest request;
  request.mutable_evaluation()->mutable_cross_entropy()->mutable_input();
  EXPECT_TRUE(Find(request).empty());
}

TEST(UnknownFieldsTest, TheMessageTheNumberAndTheVersionAreNamed) {
  v1::ComputeLossRequest request;
  AddUnknown(request.mutable_evaluation()->mutable_cross_entropy(), 9);
  const Violations violations = Find(request);
  ASSERT_EQ(violations.count(), 1);
  EXPECT_EQ(violations.kept()[0].reason, Reason::kUnknownField);
  EXPECT_EQ(violations.kept()[0].field, "evaluation.cross_entropy");
  EXPECT_EQ(violations.kept()[0].description,
            "field number 9 of lossd.v1.CrossEntropy is unknown to this server "
            "(lossd 0.1.0): it may come from a newer client.");
}

TEST(UnknownFieldsTest, TheyAreFoundAtEveryLevel) {
  v1::ComputeGradientRequest request;
  AddUnknown(&request, 99);
  EXPECT_EQ(OnlyField(request), "");
  request.Clear();
  AddUnknown(request.mutable_evaluation(), 99);
  EXPECT_EQ(OnlyField(request), "evaluation");
  request.Clear();
  AddUnknown(request.mutable_grad_output(), 99);
  EXPECT_EQ(OnlyField(request), "grad_output");
  request.Clear();
  auto* target =
      request.mutable_evaluation()->mutable_mse_loss()->mutable_target();
  AddUnknown(target, 99);
  EXPECT_EQ(OnlyField(request), "evaluation.mse_loss.target");
}

TEST(UnknownFieldsTest, TheyAreFoundAmongNumbers) {
  v1::ComputeLossRequest request;
  auto* list = request.mutable_evaluation()
                   ->mutable_mse_loss()
                   ->mutable_input()
                   ->mutable_values()
                   ->mutable_list_value();
  list->add_values()->set_number_value(1);
  auto* inner = list->add_values()->mutable_list_value();
  AddUnknown(inner->add_values(), 99);
  EXPECT_EQ(OnlyField(request), "evaluation.mse_loss.input.values");
}

TEST(UnknownFieldsTest, HintsMayHaveThem) {
  v1::ComputeLossRequest request;
  AddUnknown(request.mutable_evaluation()->mutable_hints(), 99);
  EXPECT_TRUE(Find(request).empty());
}

TEST(UnknownFieldsTest, TheSearchEndsWhenThereAreEnough) {
  v1::ComputeLossRequest request;
  for (int i = 0; i < 100000; ++i) {
    AddUnknown(request.mutable_evaluation(), 1000 + i);
  }
  EXPECT_EQ(Find(request).count(), Violations::kKept);
}

}  // namespace
}  // namespace lossd
