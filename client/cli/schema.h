// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_CLI_SCHEMA_H_
#define LOSSD_CLIENT_CLI_SCHEMA_H_

#include <google/protobuf/descriptor.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lossd/v1/loss_service.pb.h"

// What the messages of lossd.v1 say about losses. Nothing in lossctl names a
// loss, a tensor or a parameter: all of it is read from here and from the
// server's ListLosses.

namespace lossd::cli {

// The names of the losses that an Evaluation can hold.
std::vector<std::string> LossNames();

// The field of Evaluation that holds the loss `name`. INVALID_ARGUMENT, with
// the nearest name and all others, if there is none.
absl::StatusOr<const google::protobuf::FieldDescriptor*> FindLoss(
    absl::string_view name);

// Whether `field` holds a tensor; if not, it holds a parameter.
bool IsTensor(const google::protobuf::FieldDescriptor& field);

// The name of an enum's value without the prefix of its enum: "TOKEN_MEAN".
std::string ShortName(const google::protobuf::EnumValueDescriptor& value);
template <typename Enum>
std::string ShortName(Enum value) {
  const auto* found =
      google::protobuf::GetEnumDescriptor<Enum>()->FindValueByNumber(
          static_cast<int>(value));
  return found != nullptr ? ShortName(*found)
                          : std::to_string(static_cast<int>(value));
}

// The value of an enum by its short name, in any case. INVALID_ARGUMENT, with
// the choices, if there is none.
absl::StatusOr<int> ParseEnum(const google::protobuf::EnumDescriptor& type,
                              absl::string_view name);

// What the server says of the loss `name`, or null.
const v1::LossDescriptor* FindDescriptor(const v1::ListLossesResponse& losses,
                                         absl::string_view name);
const v1::TensorDescriptor* FindTensor(const v1::LossDescriptor& loss,
                                       absl::string_view name);

// Of `names`, the one that needs the fewest insertions, deletions,
// substitutions and transpositions to become `name`; empty if that is more than
// half of it.
std::string Nearest(absl::string_view name,
                    const std::vector<std::string>& names);

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_SCHEMA_H_
