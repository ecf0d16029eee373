// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_WIRE_BINDING_H_
#define LOSSD_SERVER_RPC_WIRE_BINDING_H_

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "google/protobuf/descriptor.h"
#include "server/losses/loss.h"

namespace lossd {

// A loss and the fields that carry it.
struct BoundLoss {
  const LossDefinition* definition = nullptr;
  // The field of the evaluation; its message_type() is the loss's message.
  const google::protobuf::FieldDescriptor* field = nullptr;
  // The fields of the loss's message, by the slots of the schema.
  std::vector<const google::protobuf::FieldDescriptor*> tensors;
  std::vector<const google::protobuf::FieldDescriptor*> parameters;

  // What a field number of the loss's message is: a slot of tensors, or of
  // parameters, or nothing.
  struct Slot {
    enum class Kind : uint8_t { kNone, kTensor, kParameter };
    Kind kind = Kind::kNone;
    int index = 0;
  };
  Slot SlotOf(int field_number) const;
  std::vector<Slot> by_number;

  const LossSchema& schema() const { return definition->schema; }
  // Of a field of the loss, as errors name it: "evaluation.mse_loss.input".
  std::string Path(absl::string_view name) const;
};

// Which fields of the contract are which slots of the losses' schemas. It is
// made once, at start: reading a request then needs no code for a single loss.
// Immutable, and therefore thread-safe. Borrows the losses and the descriptors.
class WireBinding {
 public:
  // Binds `losses` to the oneof `loss` of `evaluation`, the descriptor of
  // lossd.v1.Evaluation. FAILED_PRECONDITION, naming every difference, unless
  // the two agree in everything: losses, tensors, parameters, their types, an
  // enum's choices and their numbers, explicit presence exactly where the
  // default is not zero, and the order of the field numbers (parameters in the
  // order of the schema, then tensors, slot 0 last).
  static absl::StatusOr<WireBinding> Create(
      absl::Span<const LossDefinition* const> losses,
      const google::protobuf::Descriptor& evaluation);

  // By the order of `losses`.
  absl::Span<const BoundLoss> losses() const { return losses_; }

  // The loss of a field number of the evaluation, or null.
  const BoundLoss* Find(int field_number) const;

 private:
  std::vector<BoundLoss> losses_;
  absl::flat_hash_map<int, int> index_by_number_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_WIRE_BINDING_H_
