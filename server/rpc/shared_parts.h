// SPDX-License-Identifier: Apache-2.0
//
// Tensors of a request that are in shared memory.

#ifndef LOSSD_SERVER_RPC_SHARED_PARTS_H_
#define LOSSD_SERVER_RPC_SHARED_PARTS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/base/aligned_buffer.h"
#include "server/base/tensor_view.h"
#include "server/batching/byte_budget.h"
#include "server/engine/engine.h"
#include "server/losses/schema.h"
#include "server/losses/violations.h"
#include "server/rpc/number_list.h"
#include "server/rpc/shared_regions.h"

namespace lossd {

// What a call may use. Borrowed.
struct SharedAccess {
  const SharedRegions* regions = nullptr;  // null: the server has none
  bool unix_socket = false;                // the call came over one
  ByteBudget* budget = nullptr;            // of what is copied; null: unbounded
};

// A part of a region, as long as whatever it is for.
struct SharedPlace {
  std::shared_ptr<SharedRegion> region;
  int64_t offset = 0;
};

// The parts of regions that one request uses. It keeps the regions, and what
// was copied from them, as long as it lives. Not thread-safe.
class SharedParts {
 public:
  // Gradients begin at multiples of it, as they do in memory of the server's.
  static constexpr int64_t kGradientAlignment = 64;

  // Points `view`, which has dtype, shape and elements, at its elements. Those
  // that a loss can use as an index, a count or a mask are copied, because the
  // client could change them after they were checked; the others stay where
  // they are. False, after a violation, if it is not to be.
  bool Read(const SharedAccess& access, absl::string_view token, int64_t offset,
            DtypeRule rule, const TensorName& name, TensorView* view,
            Violations* violations);

  // Notes where the next gradient shall go; false after a violation.
  bool AddGradient(const SharedAccess& access, absl::string_view token,
                   int64_t offset, Violations* violations);

  // Where the gradients go; empty: nothing was said.
  absl::Span<const SharedPlace> gradients() const { return gradients_; }

  // Has the gradients of a task that was found good written there, or adds to
  // `violations` why not. What is in shared memory is then no longer counted in
  // the task's bytes.
  void Settle(Task* task, Violations* violations) const;

 private:
  struct Range {
    absl::string_view name;
    const uint8_t* begin;
    const uint8_t* end;
  };

  // The region, from which the part at `offset` does not begin outside or at an
  // odd place; null after a violation.
  std::shared_ptr<SharedRegion> Find(const SharedAccess& access,
                                     absl::string_view token, int64_t offset,
                                     int64_t alignment, const TensorName& name,
                                     Violations* violations) const;
  bool Copy(const SharedAccess& access, int64_t bytes, const TensorName& name,
            TensorView* view, Violations* violations);

  absl::InlinedVector<std::shared_ptr<SharedRegion>, 2> regions_;
  absl::InlinedVector<Range, 4> inputs_;
  int64_t in_place_bytes_ = 0;
  absl::InlinedVector<SharedPlace, 2> gradients_;
  std::vector<AlignedBuffer> copies_;
  int64_t copied_bytes_ = 0;
  std::unique_ptr<ByteGrant> grant_;  // of what was copied
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_SHARED_PARTS_H_
