// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_ENGINE_CPU_BACKEND_H_
#define LOSSD_SERVER_ENGINE_CPU_BACKEND_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/engine/backend.h"

namespace lossd {

// A backend on `threads` CPU threads, this one included: large batches are
// split by units, small ones run on the calling thread. `target` names an
// instruction set; empty means the best that this CPU has. INVALID_ARGUMENT if
// it is unknown or the CPU lacks it.
absl::StatusOr<std::unique_ptr<Backend>> MakeCpuBackend(
    int threads, absl::string_view target);

// A backend of double-precision scalar kernels on libm, on the calling thread:
// what tests compare with.
std::unique_ptr<Backend> MakeReferenceBackend();

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_CPU_BACKEND_H_
