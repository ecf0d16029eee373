// SPDX-License-Identifier: Apache-2.0
//
// Elements of tensors on the device, and what threads notice of them.

LOSSD_FN bool IsPresent(const TensorDescriptor& tensor) {
  return tensor.dtype != Dtype::kUnspecified;
}

// Element i, whatever the dtype.
template <class Lane>
LOSSD_FN Lane ElementAt(const TensorDescriptor& tensor, int64_t i) {
  const uint8_t* data = tensor.data;
  switch (tensor.dtype) {
    case Dtype::kFloat16:
      return Widened<Lane>(reinterpret_cast<const Float16*>(data)[i]);
    case Dtype::kBfloat16:
      return Widened<Lane>(reinterpret_cast<const Bfloat16*>(data)[i]);
    case Dtype::kFloat32:
      return Widened<Lane>(reinterpret_cast<const float*>(data)[i]);
    case Dtype::kFloat64:
      return Widened<Lane>(reinterpret_cast<const double*>(data)[i]);
    case Dtype::kInt32:
      return Widened<Lane>(reinterpret_cast<const int32_t*>(data)[i]);
    case Dtype::kInt64:
      return Widened<Lane>(reinterpret_cast<const int64_t*>(data)[i]);
    default:
      return Widened<Lane>(data[i]);
  }
}
// Of a dtype of class indices.
LOSSD_FN int64_t IndexAt(const TensorDescriptor& tensor, int64_t i) {
  switch (tensor.dtype) {
    case Dtype::kInt64:
      return reinterpret_cast<const int64_t*>(tensor.data)[i];
    case Dtype::kInt32:
      return reinterpret_cast<const int32_t*>(tensor.data)[i];
    default:
      return tensor.data[i];
  }
}

template <class T, class Lane>
LOSSD_FN double Put(uint8_t* data, int64_t i, Lane value) {
  const T stored = Narrowed<T>(value);
  reinterpret_cast<T*>(data)[i] = stored;
  return Widened<double>(stored);
}
// Rounds `value` to the output's dtype; gives back what was stored.
template <class Lane>
LOSSD_FN double PutElement(const OutputDescriptor& to, int64_t i, Lane value) {
  switch (to.dtype) {
    case Dtype::kFloat16:
      return Put<Float16>(to.data, i, value);
    case Dtype::kBfloat16:
      return Put<Bfloat16>(to.data, i, value);
    case Dtype::kFloat32:
      return Put<float>(to.data, i, value);
    default:
      return Put<double>(to.data, i, value);
  }
}

// For elements in registers, with the device's instructions.
LOSSD_FN float WidenedFloat(float x) { return x; }
LOSSD_FN float WidenedFloat(Float16 x) { return WidenHalf(x); }
LOSSD_FN float WidenedFloat(Bfloat16 x) { return ToFloat(x); }
LOSSD_FN float LeastNormal(float) { return 0x1p-126f; }
LOSSD_FN float LeastNormal(Float16) { return 0x1p-14f; }
LOSSD_FN float LeastNormal(Bfloat16) { return 0x1p-126f; }
// Whether lanes can be read or written where the elements lie.
template <class Lane>
LOSSD_FN bool IsInPlace(Dtype dtype) {
  return dtype == (sizeof(Lane) == 4 ? Dtype::kFloat32 : Dtype::kFloat64);
}

template <class Lane>
LOSSD_FN bool IsInfinite(Lane x) {
  return x - x != 0 && x == x;
}

// What one thread has noticed of a job.
struct Noticed {
  uint32_t flags = 0;
  uint32_t outside_domain = 0;
  uint64_t underflow = 0;

  // An element of slot `slot`.
  template <class Lane>
  LOSSD_FN void Input(const TensorDescriptor& tensor, int slot, Lane x) {
    using F = FindingsDescriptor;
    if (x - x != 0) flags |= x == x ? F::kInputInfinity : F::kInputNan;
    if (tensor.bounded && !(static_cast<double>(x) >= tensor.minimum &&
                            static_cast<double>(x) <= tensor.maximum)) {
      outside_domain |= 1u << slot;
    }
  }
  // An element of an output.
  LOSSD_FN void Output(double stored) {
    using F = FindingsDescriptor;
    if (stored - stored != 0) {
      flags |= stored == stored ? F::kResultInfinity : F::kResultNan;
    }
  }

  // Adds this to the job's findings, and begins anew.
  LOSSD_FN void Report(FindingsDescriptor* findings) {
    if (flags != 0) AtomicOr(&findings->flags, flags);
    if (outside_domain != 0) {
      AtomicOr(&findings->outside_domain, outside_domain);
    }
    if (underflow != 0) AtomicAdd(&findings->underflow, underflow);
    *this = Noticed();
  }
};

// Writes the first two sums of a unit, in the order of UnitSum, if sums are
// wanted.
LOSSD_FN void PutSums(const JobDescriptor& job, int64_t unit, double numerator,
                      double total) {
  if (!job.unit_sums) return;
  job.unit_sums[unit] = numerator;
  job.unit_sums[job.units + unit] = total;
}

// The units of a batch that a group of threads G computes, one after another.
template <class G>
class Units {
 public:
  LOSSD_FN Units(const Batch& batch, int64_t block_threads)
      : batch_(batch),
        groups_(BlockCount() * (block_threads / G::kThreads)),
        group_(BlockIndex() * (block_threads / G::kThreads) +
               ThreadIndex() / G::kThreads),
        next_(group_) {}
  // For `groups` groups of any kind, of which this is one.
  LOSSD_FN Units(const Batch& batch, int64_t groups, int64_t group)
      : batch_(batch), groups_(groups), group_(group), next_(group) {}

  // Finds the job and its unit; false after the last.
  LOSSD_FN bool Next(const JobDescriptor** job, int64_t* unit) {
    if (next_ >= batch_.first_units[batch_.job_count]) return false;
    int64_t low = job_;
    int64_t high = batch_.job_count;
    while (high - low > 1) {
      const int64_t middle = low + (high - low) / 2;
      if (batch_.first_units[middle] <= next_) {
        low = middle;
      } else {
        high = middle;
      }
    }
    job_ = low;
    *job = &batch_.jobs[low];
    *unit = next_ - batch_.first_units[low];
    next_ += groups_;
    return true;
  }

  LOSSD_FN uint8_t* Scratch() const {
    return batch_.scratch + group_ * batch_.scratch_bytes;
  }

 private:
  const Batch& batch_;
  const int64_t groups_;
  const int64_t group_;
  int64_t next_;
  int64_t job_ = 0;
};
