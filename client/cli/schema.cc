// SPDX-License-Identifier: Apache-2.0
#include "client/cli/schema.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"

namespace lossd::cli {
namespace {

using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::OneofDescriptor;

const OneofDescriptor& LossOneof() {
  return *v1::Evaluation::descriptor()->FindOneofByName("loss");
}

size_t Distance(absl::string_view a, absl::string_view b) {
  std::vector<std::vector<size_t>> cost(a.size() + 1,
                                        std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = i + j;
        continue;
      }
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1,
                             cost[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
      }
    }
  }
  return cost[a.size()][b.size()];
}

}  // namespace

std::vector<std::string> LossNames() {
  std::vector<std::string> names;
  for (int i = 0; i < LossOneof().field_count(); ++i) {
    names.push_back(LossOneof().field(i)->name());
  }
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<const FieldDescriptor*> FindLoss(absl::string_view name) {
  for (int i = 0; i < LossOneof().field_count(); ++i) {
    if (LossOneof().field(i)->name() == name) return LossOneof().field(i);
  }
  const std::string nearest = Nearest(name, LossNames());
  return absl::InvalidArgumentError(absl::StrCat(
      "there is no loss '", name, "'",
      nearest.empty() ? "" : absl::StrCat("; did you mean ", nearest, "?"),
      "\nlosses: ", absl::StrJoin(LossNames(), ", ")));
}

bool IsTensor(const FieldDescriptor& field) {
  return field.message_type() == v1::Tensor::descriptor();
}

std::string ShortName(const EnumValueDescriptor& value) {
  const absl::string_view prefix =
      absl::StripSuffix(value.type()->value(0)->name(), "UNSPECIFIED");
  return std::string(absl::StripPrefix(value.name(), prefix));
}

absl::StatusOr<int> ParseEnum(const EnumDescriptor& type,
                              absl::string_view name) {
  std::vector<std::string> choices;
  for (int i = 0; i < type.value_count(); ++i) {
    const std::string choice = ShortName(*type.value(i));
    if (choice == "UNSPECIFIED") continue;
    if (absl::EqualsIgnoreCase(choice, name)) return type.value(i)->number();
    choices.push_back(absl::AsciiStrToLower(choice));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", name, "' is none of ", absl::StrJoin(choices, ", ")));
}

const v1::LossDescriptor* FindDescriptor(const v1::ListLossesResponse& losses,
                                         absl::string_view name) {
  for (const v1::LossDescriptor& loss : losses.losses()) {
    if (loss.name() == name) return &loss;
  }
  return nullptr;
}

const v1::TensorDescriptor* FindTensor(const v1::LossDescriptor& loss,
                                       absl::string_view name) {
  for (const v1::TensorDescriptor& tensor : loss.tensors()) {
    if (tensor.name() == name) return &tensor;
  }
  return nullptr;
}

std::string Nearest(absl::string_view name,
                    const std::vector<std::string>& names) {
  std::string best;
  size_t least = name.size() / 2 + 1;
  for (const std::string& candidate : names) {
    const size_t distance = Distance(name.substr(0, 64), candidate);
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace lossd::cli
