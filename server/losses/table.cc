// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <array>

#include "server/losses/loss.h"

namespace lossd {

#define LOSSD_LOSS(name)              \
  namespace name {                    \
  const LossDefinition& Definition(); \
  }
#include "loss_rows.inc"
#undef LOSSD_LOSS

absl::Span<const LossDefinition* const> AllLosses() {
  static const std::array kLosses = {
#define LOSSD_LOSS(name) &name::Definition(),
#include "loss_rows.inc"
#undef LOSSD_LOSS
  };
  return kLosses;
}

const LossDefinition* FindLoss(absl::string_view name) {
  for (const LossDefinition* loss : AllLosses()) {
    if (loss->schema.name == name) return loss;
  }
  return nullptr;
}

}  // namespace lossd
