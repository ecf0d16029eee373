// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/shared_parts.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/engine/validation.h"

namespace lossd {
namespace {

// Whether kernels only compute with the values: nothing is found by them.
bool IsOnlyValues(DtypeRule rule, Dtype dtype) {
  switch (rule) {
    case DtypeRule::kLeading:
    case DtypeRule::kSameAsLeading:
    case DtypeRule::kClassIndexOrAsLeading:
      return IsFloating(dtype);
    default:
      return false;
  }
}

void AddUnavailable(const TensorName& name, absl::string_view why,
                    Violations* violations) {
  violations->Add(Reason::kSharedMemoryUnavailable, name.path,
                  absl::StrCat(name.name, " is in shared memory, but ", why));
}

void AddTooLong(const TensorName& name, int64_t bytes, int64_t offset,
                int64_t size, Violations* violations) {
  violations->Add(
      Reason::kSharedMemoryInvalid, name.path,
      absl::StrCat(name.name, " needs ", bytes, " bytes from offset ", offset,
                   ", but the region has ", size, " bytes."));
}

// Whether they have a byte in common.
bool Overlap(const uint8_t* begin, const uint8_t* end,
             const uint8_t* other_begin, const uint8_t* other_end) {
  return begin < other_end && other_begin < end;
}

std::string GradientName(size_t position) {
  return absl::StrCat("gradient_memory[", position, "]");
}

}  // namespace

std::shared_ptr<SharedRegion> SharedParts::Find(
    const SharedAccess& access, absl::string_view token, int64_t offset,
    int64_t alignment, const TensorName& name, Violations* violations) const {
  if (access.regions == nullptr) {
    AddUnavailable(name,
                   "this server shares none: send data, or start it with "
                   "--shared-memory-listen.",
                   violations);
    return nullptr;
  }
  if (!access.unix_socket) {
    AddUnavailable(name,
                   "this call came over TCP: use the server's Unix socket.",
                   violations);
    return nullptr;
  }
  std::shared_ptr<SharedRegion> region = access.regions->Find(token);
  if (region == nullptr) {
    AddUnavailable(name,
                   "no region has this token: a region ends with the "
                   "connection that it came over. Get a new one.",
                   violations);
    return nullptr;
  }
  if (offset < 0 || offset > region->size() || offset % alignment != 0) {
    violations->Add(
        Reason::kSharedMemoryInvalid, name.path,
        absl::StrCat(name.name, " is at offset ", offset,
                     ", which is not a multiple of ", alignment,
                     " in the region's ", region->size(), " bytes."));
    return nullptr;
  }
  return region;
}

bool SharedParts::Read(const SharedAccess& access, absl::string_view token,
                       int64_t offset, DtypeRule rule, const TensorName& name,
                       TensorView* view, Violations* violations) {
  const int64_t size = DtypeSize(view->dtype);
  std::shared_ptr<SharedRegion> region =
      Find(access, token, offset, size, name, violations);
  if (region == nullptr) return false;
  // The number of elements is small enough for any dtype.
  const int64_t bytes = view->elements * size;
  if (bytes > region->size() - offset) {
    AddTooLong(name, bytes, offset, region->size(), violations);
    return false;
  }
  view->data = region->data() + offset;
  inputs_.push_back({name.name, view->data, view->data + bytes});
  if (std::find(regions_.begin(), regions_.end(), region) == regions_.end()) {
    regions_.push_back(std::move(region));
  }
  if (!IsOnlyValues(rule, view->dtype)) {
    return Copy(access, bytes, name, view, violations);
  }
  in_place_bytes_ += bytes;
  return true;
}

bool SharedParts::Copy(const SharedAccess& access, int64_t bytes,
                       const TensorName& name, TensorView* view,
                       Violations* violations) {
  if (access.budget != nullptr) {
    if (grant_ == nullptr) grant_ = std::make_unique<ByteGrant>(access.budget);
    if (!grant_->RaiseTo(copied_bytes_ + bytes)) {
      violations->Add(
          Reason::kQueueFull, name.path,
          absl::StrCat(name.name, " has ", bytes,
                       " bytes to be copied out of shared memory, and the "
                       "calls in flight have ",
                       access.budget->taken(), " of at most ",
                       access.budget->max_bytes(), ": retry."));
      return false;
    }
  }
  copied_bytes_ += bytes;
  AlignedBuffer copy(bytes);
  if (bytes > 0) {
    std::memcpy(copy.data(), view->data, static_cast<size_t>(bytes));
  }
  view->data = copy.data();
  copies_.push_back(std::move(copy));
  return true;
}

bool SharedParts::AddGradient(const SharedAccess& access,
                              absl::string_view token, int64_t offset,
                              Violations* violations) {
  const std::string name = GradientName(gradients_.size());
  std::shared_ptr<SharedRegion> region =
      Find(access, token, offset, kGradientAlignment, {name, name}, violations);
  if (region == nullptr) return false;
  gradients_.push_back({std::move(region), offset});
  return true;
}

void SharedParts::Settle(Task* task, Violations* violations) const {
  task->input_bytes -= in_place_bytes_;
  if (gradients_.empty()) return;
  const Evaluation& evaluation = task->evaluation;
  const SlotList slots = WantedGradients(evaluation);
  if (slots.size() != gradients_.size()) {
    violations->Add(Reason::kOptionInvalid, "gradient_memory",
                    absl::StrCat("gradient_memory has ", gradients_.size(),
                                 gradients_.size() == 1 ? " place" : " places",
                                 ", but ", slots.size(),
                                 slots.size() == 1 ? " gradient" : " gradients",
                                 " are computed: give one for each, or none."));
    return;
  }
  absl::InlinedVector<Range, 8> taken(inputs_.begin(), inputs_.end());
  std::vector<std::string> names(slots.size());
  for (size_t i = 0; i < slots.size(); ++i) {
    names[i] = GradientName(i);
    const SharedPlace& place = gradients_[i];
    const int64_t bytes = GradientBytes(evaluation, slots[i]);
    const int64_t size = place.region->size();
    if (bytes > size - place.offset) {
      AddTooLong({names[i], names[i]}, bytes, place.offset, size, violations);
      continue;
    }
    uint8_t* const begin = place.region->data() + place.offset;
    for (const Range& other : taken) {
      if (!Overlap(begin, begin + bytes, other.begin, other.end)) continue;
      violations->Add(Reason::kSharedMemoryInvalid, names[i],
                      absl::StrCat(names[i], " overlaps ", other.name,
                                   ": a gradient needs memory of its own."));
    }
    taken.push_back({names[i], begin, begin + bytes});
    task->gradient_memory.emplace_back(begin, bytes, place.region);
  }
}

}  // namespace lossd
