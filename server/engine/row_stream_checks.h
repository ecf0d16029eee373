// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_ENGINE_ROW_STREAM_CHECKS_H_
#define LOSSD_SERVER_ENGINE_ROW_STREAM_CHECKS_H_

#include <cstdint>

#include "server/engine/engine.h"
#include "server/losses/violations.h"

namespace lossd {

// Adds why the evaluation cannot be computed in chunks of rows. `whole` was
// found good as an evaluation; `streamed` has a bit for each slot whose tensor
// arrives in chunks. Reads no tensor data.
void CheckStreamable(const Task& whole, uint32_t streamed,
                     Violations* violations);

// Adds which of the engine's limits a chunk is over: of so many elements of
// slot 0's kind, of that cost, with so many bytes of gradients.
void CheckChunkLimits(int64_t elements, const Cost& cost,
                      int64_t gradient_bytes, const EngineLimits& limits,
                      Violations* violations);

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_ROW_STREAM_CHECKS_H_
