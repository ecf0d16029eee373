// SPDX-License-Identifier: Apache-2.0
// The layout of the messages: what a reader of a request may rely on while its
// bytes arrive.

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor.pb.h"
#include "gtest/gtest.h"
#include "lossd/v1/error_reason.pb.h"
#include "lossd/v1/loss_service.pb.h"
#include "lossd/v1/tensor.pb.h"

namespace lossd::v1 {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using testing::ElementsAre;

constexpr int kLastField = 15;
constexpr int kLeastTensorField = 11;
constexpr int kLeastResultTensorField = 9;

std::vector<const FieldDescriptor*> FieldsOf(const Descriptor& message) {
  std::vector<const FieldDescriptor*> fields;
  for (int i = 0; i < message.field_count(); ++i) {
    fields.push_back(message.field(i));
  }
  return fields;
}

std::vector<const Descriptor*> LossMessages() {
  const auto* loss = Evaluation::descriptor()->FindOneofByName("loss");
  std::vector<const Descriptor*> messages;
  for (int i = 0; i < loss->field_count(); ++i) {
    messages.push_back(loss->field(i)->message_type());
  }
  return messages;
}

bool IsTensor(const FieldDescriptor& field) {
  return field.message_type() == Tensor::descriptor();
}

// Whether a tensor can be inside: its bytes are the bulk of a message.
bool IsBulk(const FieldDescriptor& field) {
  const Descriptor* message = field.message_type();
  if (message == nullptr || message->file()->package() != "lossd.v1") {
    return false;
  }
  if (IsTensor(field)) return true;
  const auto fields = FieldsOf(*message);
  return std::any_of(fields.begin(), fields.end(),
                     [](const auto* inner) { return IsBulk(*inner); });
}

// The messages of lossd.v1 that a message holds, itself included.
void CollectMessages(const Descriptor& message,
                     std::set<const Descriptor*>& found) {
  if (message.file()->package() != "lossd.v1") return;
  if (!found.insert(&message).second) return;
  for (const auto* field : FieldsOf(message)) {
    if (field->message_type() != nullptr) {
      CollectMessages(*field->message_type(), found);
    }
  }
}

std::set<const Descriptor*> MessagesBehind(
    const std::vector<const Descriptor*>& roots) {
  std::set<const Descriptor*> found;
  for (const auto* root : roots) CollectMessages(*root, found);
  return found;
}

std::set<const Descriptor*> RequestMessages() {
  return MessagesBehind(
      {ComputeLossRequest::descriptor(), ComputeGradientRequest::descriptor()});
}

TEST(TheRequestPath, HasTheseMessagesBesideTheLosses) {
  std::set<const Descriptor*> messages = RequestMessages();
  const auto* losses = Evaluation::descriptor()->FindOneofByName("loss");
  for (int i = 0; i < losses->field_count(); ++i) {
    EXPECT_EQ(messages.erase(losses->field(i)->message_type()), 1u);
  }
  std::vector<std::string> names;
  for (const auto* message : messages) names.emplace_back(message->name());
  std::sort(names.begin(), names.end());
  // Unknown fields are looked for in each of these but CallHints.
  EXPECT_THAT(names, ElementsAre("CallHints", "ComputeGradientRequest",
                                 "ComputeLossRequest", "Evaluation",
                                 "SharedMemory", "Tensor"));
}

TEST(TheRequestPath, HasNoMaps) {
  for (const auto* message : RequestMessages()) {
    for (const auto* field : FieldsOf(*message)) {
      EXPECT_FALSE(field->is_map()) << field->full_name();
    }
  }
}

TEST(EveryMessage, HasItsBulkBehindEverythingElse) {
  const auto messages = MessagesBehind({ComputeLossRequest::descriptor(),
                                        ComputeGradientRequest::descriptor(),
                                        ComputeLossResponse::descriptor(),
                                        ComputeGradientResponse::descriptor()});
  for (const auto* message : messages) {
    int last_small = 0;
    int first_bulk = FieldDescriptor::kMaxNumber;
    for (const auto* field : FieldsOf(*message)) {
      if (IsBulk(*field)) {
        first_bulk = std::min(first_bulk, field->number());
      } else if (message != Tensor::descriptor()) {
        last_small = std::max(last_small, field->number());
      }
    }
    EXPECT_LT(last_small, first_bulk) << message->full_name();
  }
}

TEST(EveryLoss, NamesItsTensorsFromFifteenDownAndItsParametersFromOneUp) {
  for (const auto* loss : LossMessages()) {
    std::vector<int> tensors, parameters;
    for (const auto* field : FieldsOf(*loss)) {
      (IsTensor(*field) ? tensors : parameters).push_back(field->number());
    }
    // A source lists parameters first, in the order of their numbers.
    for (size_t i = 0; i < parameters.size(); ++i) {
      EXPECT_EQ(parameters[i], static_cast<int>(i) + 1) << loss->full_name();
    }
    ASSERT_FALSE(tensors.empty()) << loss->full_name();
    for (size_t i = 0; i < tensors.size(); ++i) {
      EXPECT_EQ(tensors[i],
                kLastField - static_cast<int>(tensors.size() - i) + 1)
          << loss->full_name();
    }
    EXPECT_GE(tensors.front(), kLeastTensorField) << loss->full_name();
  }
}

TEST(EveryLoss, IsTheFieldOfEvaluationThatItsMessageIsNamedAfter) {
  const auto* loss = Evaluation::descriptor()->FindOneofByName("loss");
  for (int i = 0; i < loss->field_count(); ++i) {
    const auto* field = loss->field(i);
    // The camel-case name, with its first letter raised.
    std::string name(field->camelcase_name());
    name[0] = static_cast<char>(name[0] - 'a' + 'A');
    EXPECT_EQ(name, field->message_type()->name());
    EXPECT_GT(field->number(), 100) << field->full_name();
  }
}

TEST(AResult, HasItsTensorsFromNineUp) {
  for (const auto* field : FieldsOf(*Result::descriptor())) {
    EXPECT_EQ(IsBulk(*field), field->number() >= kLeastResultTensorField)
        << field->full_name();
  }
}

TEST(ATensor, HasItsContentLastAndItsBytesLastOfAll) {
  const auto* content = Tensor::descriptor()->FindOneofByName("content");
  ASSERT_NE(content, nullptr);
  for (const auto* field : FieldsOf(*Tensor::descriptor())) {
    const bool is_content = field->containing_oneof() == content;
    EXPECT_EQ(is_content, field->number() >= 13) << field->full_name();
  }
  EXPECT_EQ(Tensor::descriptor()->FindFieldByName("data")->number(),
            kLastField);
}

TEST(EveryCall, HasNoSideEffects) {
  const auto* file = ListLossesRequest::descriptor()->file();
  const auto* service = file->FindServiceByName("LossService");
  ASSERT_NE(service, nullptr);
  for (int i = 0; i < service->method_count(); ++i) {
    EXPECT_EQ(service->method(i)->options().idempotency_level(),
              google::protobuf::MethodOptions::NO_SIDE_EFFECTS)
        << service->method(i)->full_name();
  }
}

TEST(EveryReason, HasTheNumberAfterTheOneBefore) {
  const auto* reasons = ErrorReason_descriptor();
  for (int i = 0; i < reasons->value_count(); ++i) {
    EXPECT_EQ(reasons->value(i)->number(), i) << reasons->value(i)->name();
  }
}

}  // namespace
}  // namespace lossd::v1
