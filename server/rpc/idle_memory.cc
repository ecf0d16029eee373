// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/idle_memory.h"

#include <malloc.h>

namespace lossd {

void IdleMemory::Tick(int64_t activity) {
  pool_.Trim();
  if (activity != last_activity_) {
    last_activity_ = activity;
    trimmed_ = false;
    return;
  }
  if (trimmed_) return;
  malloc_trim(0);
  trimmed_ = true;
  ++trims_;
}

}  // namespace lossd
