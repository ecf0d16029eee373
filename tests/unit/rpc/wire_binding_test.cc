// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/wire_binding.h"

#include <functional>
#include <string>

#include "gmock/gmock.h"
#include "google/protobuf/descriptor.pb.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/struct.pb.h"
#include "gtest/gtest.h"
#include "lossd/v1/loss_service.pb.h"

namespace lossd {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::DescriptorProto;
using google::protobuf::FieldDescriptorProto;
using google::protobuf::FileDescriptor;
using google::protobuf::FileDescriptorProto;
using ::testing::HasSubstr;

// Binds the losses to the contract as `edit` changes its file loss.proto.
absl::Status BindEdited(const std::function<void(FileDescriptorProto*)>& edit) {
  DescriptorPool pool;
  const auto build = [&](const FileDescriptor* file, bool edited) {
    FileDescriptorProto proto;
    file->CopyTo(&proto);
    if (edited) edit(&proto);
    return pool.BuildFile(proto);
  };
  build(google::protobuf::Value::descriptor()->file(), false);
  build(google::protobuf::Duration::descriptor()->file(), false);
  build(v1::Tensor::descriptor()->file(), false);
  build(v1::CrossEntropy::descriptor()->file(), true);
  const FileDescriptor* service =
      build(v1::Evaluation::descriptor()->file(), false);
  if (service == nullptr) return absl::InternalError("the edit does not build");
  return WireBinding::Create(AllLosses(),
                             *service->FindMessageTypeByName("Evaluation"))
      .status();
}

DescriptorProto* Message(FileDescriptorProto* file, const std::string& name) {
  for (DescriptorProto& message : *file->mutable_message_type()) {
    if (message.name() == name) return &message;
  }
  return nullptr;
}

FieldDescriptorProto* Field(DescriptorProto* message, const std::string& name) {
  for (FieldDescriptorProto& field : *message->mutable_field()) {
    if (field.name() == name) return &field;
  }
  return nullptr;
}

TEST(WireBindingTest, TheContractAndTheLossesAgree) {
  const auto binding =
      WireBinding::Create(AllLosses(), *v1::Evaluation::descriptor());
  ASSERT_TRUE(binding.ok()) << binding.status();
  EXPECT_EQ(binding->losses().size(), AllLosses().size());
  const BoundLoss* loss =
      binding->Find(v1::Evaluation::kCrossEntropyFieldNumber);
  ASSERT_NE(loss, nullptr);
  EXPECT_EQ(loss->schema().name, "cross_entropy");
  EXPECT_EQ(loss->tensors[0]->name(), "input");
  EXPECT_EQ(loss->tensors.size(), loss->schema().tensors.size());
  EXPECT_EQ(loss->parameters.size(), loss->schema().parameters.size());
  EXPECT_EQ(loss->Path("input"), "evaluation.cross_entropy.input");
  EXPECT_EQ(binding->Find(v1::Evaluation::kHintsFieldNumber), nullptr);
  EXPECT_EQ(binding->Find(0), nullptr);
}

TEST(WireBindingTest, AnEditThatChangesNothingBinds) {
  const absl::Status status = BindEdited([](FileDescriptorProto*) {});
  EXPECT_TRUE(status.ok()) << status;
}

TEST(WireBindingTest, AMissingTensorIsFound) {
  const absl::Status status = BindEdited([](FileDescriptorProto* file) {
    Field(Message(file, "CrossEntropy"), "weight")->set_name("weights");
    Field(Message(file, "CrossEntropy"), "weights")->clear_json_name();
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("lossd.v1.CrossEntropy has no weight"));
}

TEST(WireBindingTest, AFieldWithoutASlotIsFound) {
  const absl::Status status = BindEdited([](FileDescriptorProto* file) {
    FieldDescriptorProto* field = Message(file, "MseLoss")->add_field();
    field->set_name("extra");
    field->set_number(1);
    field->set_type(FieldDescriptorProto::TYPE_DOUBLE);
    field->set_label(FieldDescriptorProto::LABEL_OPTIONAL);
  });
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("lossd.v1.MseLoss has 4 fields"));
}

TEST(WireBindingTest, AParameterOfAnotherTypeIsFound) {
  const absl::Status status = BindEdited([](FileDescriptorProto* file) {
    Field(Message(file, "CrossEntropy"), "label_smoothing")
        ->set_type(FieldDescriptorProto::TYPE_FLOAT);
  });
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("label_smoothing must be a single double"));
}

TEST(WireBindingTest, PresenceMustBeExplicitWhereZeroIsNotTheDefault) {
  const absl::Status status = BindEdited([](FileDescriptorProto* file) {
    DescriptorProto* message = Message(file, "NllLoss");
    message->clear_oneof_decl();
    Field(message, "ignore_index")->clear_oneof_index();
    Field(message, "ignore_index")->clear_proto3_optional();
  });
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("lossd.v1.NllLoss.ignore_index must be optional"));
}

TEST(WireBindingTest, ATensorOfAnotherTypeIsFound) {
  const absl::Status status = BindEdited([](FileDescriptorProto* file) {
    Field(Message(file, "MseLoss"), "weight")
        ->set_type_name(".lossd.v1.CrossEntropy");
  });
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("lossd.v1.MseLoss.weight must be a lossd.v1.Tensor"));
}

TEST(WireBindingTest, ChoicesMustHaveTheirNumbers) {
  const absl::Status status = BindEdited([](FileDescriptorProto* file) {
    for (auto& choices :
         *Message(file, "ClippedPolicyLoss")->mutable_enum_type()) {
      if (choices.name() == "KlEstimator") {
        choices.mutable_value(1)->set_number(7);
      }
    }
  });
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("KlEstimator must have, from 0, the values "
                        "KL_ESTIMATOR_UNSPECIFIED, KL_ESTIMATOR_K1"));
}

TEST(WireBindingTest, TheLeadingTensorMustHaveTheHighestNumber) {
  const absl::Status status = BindEdited([](FileDescriptorProto* file) {
    Field(Message(file, "MseLoss"), "weight")->set_number(16);
  });
  EXPECT_THAT(std::string(status.message()), HasSubstr("input last"));
}

TEST(WireBindingTest, EveryLossMustHaveAField) {
  const auto& all = AllLosses();
  const LossSchema& known = all[0]->schema;
  LossSchema schema = known;
  schema.name = "unheard_of_loss";
  const LossDefinition unheard = {schema, nullptr, nullptr, 1};
  const LossDefinition* losses[] = {&unheard};
  const absl::Status status =
      WireBinding::Create(losses, *v1::Evaluation::descriptor()).status();
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("lossd.v1.Evaluation has no unheard_of_loss"));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("Evaluation.cross_entropy has no schema"));
}

}  // namespace
}  // namespace lossd
