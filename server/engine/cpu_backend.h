// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_ENGINE_CPU_BACKEND_H_
#define LOSSD_SERVER_ENGINE_CPU_BACKEND_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/engine/backend.h"

namespace lossd {

// Some 50 us of work, so that handing it over costs little beside it.
inline constexpr int64_t kDefaultGrain = 1 << 16;

// A backend on `threads` CPU threads, this one included: large batches are
// split by units, small ones run on the calling thread. `target` names an
// instruction set; empty means the best that this CPU has. INVALID_ARGUMENT if
// it is unknown or the CPU lacks it. `grain`, at least 1, is about how many
// elements a thread takes at a time; it does not show in any result.
absl::StatusOr<std::unique_ptr<Backend>> MakeCpuBackend(
    int threads, absl::string_view target, int64_t grain = kDefaultGrain);

// A backend of double-precision scalar kernels on libm, on the calling thread:
// what tests compare with.
std::unique_ptr<Backend> MakeReferenceBackend();

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_CPU_BACKEND_H_
