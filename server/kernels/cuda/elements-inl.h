// SPDX-License-Identifier: Apache-2.0
//
// How elementwise losses run: a warp takes a leaf, a thread an element at a
// time. The lane of a thread sums the losses that it has computed, and the
// lanes are added as a tree.

// The elements that lie in 16 bytes, as words: an array of elements of 2 bytes
// would take a register for each.
template <class T>
struct alignas(16) Packet {
  static constexpr int kCount = 16 / sizeof(T);
  uint32_t words[4] = {};

  LOSSD_FN T Get(int k) const {
    if constexpr (sizeof(T) == 8) {
      return std::bit_cast<T>(uint64_t{words[2 * k]} |
                              uint64_t{words[2 * k + 1]} << 32);
    } else if constexpr (sizeof(T) == 4) {
      return std::bit_cast<T>(words[k]);
    } else {
      return std::bit_cast<T>(
          static_cast<uint16_t>(words[k / 2] >> (k % 2 * 16)));
    }
  }
  // Each place is put once.
  LOSSD_FN void Put(int k, T value) {
    if constexpr (sizeof(T) == 8) {
      const auto bits = std::bit_cast<uint64_t>(value);
      words[2 * k] = static_cast<uint32_t>(bits);
      words[2 * k + 1] = static_cast<uint32_t>(bits >> 32);
    } else if constexpr (sizeof(T) == 4) {
      words[k] = std::bit_cast<uint32_t>(value);
    } else {
      words[k / 2] |= uint32_t{std::bit_cast<uint16_t>(value)} << (k % 2 * 16);
    }
  }
};

template <template <class> class Math, class Lane>
class ElementGroup {
 public:
  using V = GroupLanes<Lane, OneThread>;
  using M = Math<V>;
  static constexpr int kTensors = M::kTensors;

  static LOSSD_CALL void Run(const Batch& batch, int64_t block_threads) {
    Units<WarpThreads> units(batch, block_threads);
    const JobDescriptor* job;
    int64_t leaf;
    while (units.Next(&job, &leaf)) ElementGroup(*job).RunLeaf(leaf);
  }

 private:
  LOSSD_FN explicit ElementGroup(const JobDescriptor& job) : job_(job) {}

  LOSSD_FN void RunLeaf(int64_t leaf) {
    const int64_t begin = leaf * kLeaf;
    const int64_t left = job_.element_count - begin;
    const int64_t n = left < kLeaf ? left : kLeaf;
    double sum = 0;
    if (job_.direct) {
      switch (job_.tensors[0].dtype) {
        case Dtype::kFloat16:
          sum = RunDirect<Float16>(begin, n);
          break;
        case Dtype::kBfloat16:
          sum = RunDirect<Bfloat16>(begin, n);
          break;
        case Dtype::kFloat32:
          sum = RunDirect<float>(begin, n);
          break;
        default:
          if constexpr (sizeof(Lane) == 8) sum = RunDirect<double>(begin, n);
      }
    } else {
      sum = RunEach(begin, n);
    }
    sum = WarpThreads::Sum(sum);
    if (WarpThreads::Rank() == 0) PutSums(job_, leaf, sum, sum);
    noticed_.Report(job_.findings);
  }

  // Element by element, and in the order of RunDirect, so that the sum is the
  // same whether a tensor broadcasts and whatever else is wanted.
  LOSSD_CALL double RunEach(int64_t begin, int64_t n) {
    const Dtype dtype = job_.tensors[0].dtype;
    const int count = dtype == Dtype::kFloat64   ? Packet<double>::kCount
                      : dtype == Dtype::kFloat32 ? Packet<float>::kCount
                                                 : Packet<Float16>::kCount;
    double sum = 0;
    for (int64_t i = WarpThreads::Rank() * count; i < n;
         i += kWarpThreads * count) {
      double of_packet = 0;
      for (int64_t k = i; k < i + count && k < n; ++k) {
        of_packet += RunElement(begin + k);
      }
      sum += of_packet;
    }
    return sum;
  }

  // One element of tensors that may broadcast.
  LOSSD_CALL double RunElement(int64_t i) {
    V operand[kTensors];
    for (int slot = 0; slot < kTensors; ++slot) {
      operand[slot] = V::Set(1.0);
      const TensorDescriptor& tensor = job_.tensors[slot];
      if (!IsPresent(tensor)) continue;
      operand[slot].v = ElementAt<Lane>(tensor, Offset(tensor, i));
      noticed_.Input(tensor, slot, operand[slot].v);
    }
    Element<V> element;
    M::Evaluate(operand, job_.parameters, &element);
    V scale = V::Set(job_.gradient_scale);
    if (IsPresent(job_.grad_output)) {
      scale.v *= ElementAt<Lane>(job_.grad_output, Offset(job_.grad_output, i));
    }
    for (int slot = 0; slot < kTensors; ++slot) {
      const OutputDescriptor& to = job_.gradients[slot];
      if (to.data) PutGradient(element.gradient[slot], scale, to, i);
    }
    PutOutput(job_.losses, i, element.loss);
    if constexpr (M::kHasProbabilities) {
      PutOutput(job_.probabilities, i, element.probability);
      PutOutput(job_.log_probabilities, i, element.log_probability);
      if (job_.predicted_classes) {
        job_.predicted_classes[i] = element.predicted.set;
      }
    }
    return static_cast<double>(element.loss.v);
  }

  // Where element i of the loss's shape is in a tensor.
  LOSSD_FN int64_t Offset(const TensorDescriptor& tensor, int64_t i) const {
    if (tensor.layout == TensorDescriptor::Layout::kOne) return 0;
    if (tensor.layout == TensorDescriptor::Layout::kDense) return i;
    int64_t rest = i + job_.first_element;
    int64_t offset = 0;
    for (int d = job_.dimensions; d-- > 0;) {
      const int64_t above = rest / job_.sizes[d];
      offset += (rest - above * job_.sizes[d]) * tensor.steps[d];
      rest = above;
    }
    return offset;
  }

  LOSSD_FN void PutGradient(const V& gradient, const V& scale,
                            const OutputDescriptor& to, int64_t i) {
    const V value = Canonical(gradient * scale);
    const double stored = PutElement(to, i, value.v);
    NoteGradient(gradient.v, scale.v, stored);
  }
  LOSSD_FN void NoteGradient(Lane gradient, Lane scale, double stored) {
    noticed_.Output(stored);
    noticed_.underflow += stored == 0 && gradient != 0 && scale != 0;
  }
  LOSSD_FN void PutOutput(const OutputDescriptor& to, int64_t i, V value) {
    if (to.data) noticed_.Output(PutElement(to, i, Canonical(value).v));
  }

  // All elements of one dtype, contiguous or the same for all: 16 bytes of each
  // tensor at a time.
  template <class T>
  LOSSD_CALL double RunDirect(int64_t begin, int64_t n) {
    constexpr int kCount = Packet<T>::kCount;
    double sum = 0;
    Packet<T> in[kTensors + 1];
    for (int slot = 0; slot <= kTensors; ++slot) {
      const TensorDescriptor& tensor = Input(slot);
      const T value =
          IsPresent(tensor) && tensor.layout == TensorDescriptor::Layout::kOne
              ? reinterpret_cast<const T*>(tensor.data)[0]
              : Narrowed<T>(Lane{1});
      for (int k = 0; k < kCount; ++k) in[slot].Put(k, value);
    }
    const int64_t step = kWarpThreads * kCount;
    for (int64_t i = WarpThreads::Rank() * kCount; i < n; i += step) {
      const int count = n - i < kCount ? static_cast<int>(n - i) : kCount;
      for (int slot = 0; slot <= kTensors; ++slot) {
        if (Input(slot).layout != TensorDescriptor::Layout::kDense) continue;
        LoadPacket(reinterpret_cast<const T*>(Input(slot).data) + begin + i,
                   count, &in[slot]);
      }
      sum += RunPacket(in, begin + i, count);
    }
    return sum;
  }

  LOSSD_FN const TensorDescriptor& Input(int slot) const {
    return slot == kTensors ? job_.grad_output : job_.tensors[slot];
  }

  template <class T>
  static LOSSD_FN void LoadPacket(const T* from, int count, Packet<T>* to) {
    if (count == Packet<T>::kCount) {
      *to = LoadOnce(reinterpret_cast<const Packet<T>*>(from));
      return;
    }
    *to = {};
    LOSSD_UNROLL
    for (int k = 0; k < Packet<T>::kCount; ++k) {
      if (k < count) to->Put(k, from[k]);
    }
  }
  template <class T>
  static LOSSD_FN void StorePacket(const Packet<T>& from, int count, T* to) {
    if (count == Packet<T>::kCount) {
      StoreOnce(reinterpret_cast<Packet<T>*>(to), from);
      return;
    }
    LOSSD_UNROLL
    for (int k = 0; k < Packet<T>::kCount; ++k) {
      if (k < count) to[k] = from.Get(k);
    }
  }

  // The sum of the losses of the `count` elements from i on.
  template <class T>
  LOSSD_FN double RunPacket(const Packet<T>* in, int64_t i, int count) {
    constexpr int kCount = Packet<T>::kCount;
    Packet<T> gradients[kTensors];
    Packet<T> losses;
    const V scale_of_all = V::Set(job_.gradient_scale);
    double sum = 0;
    LOSSD_UNROLL
    for (int k = 0; k < kCount; ++k) {
      if (k >= count) break;
      V operand[kTensors];
      for (int slot = 0; slot < kTensors; ++slot) {
        operand[slot].v = Widened<Lane>(in[slot].Get(k));
        if (IsPresent(job_.tensors[slot])) {
          noticed_.Input(job_.tensors[slot], slot, operand[slot].v);
        }
      }
      Element<V> element;
      M::Evaluate(operand, job_.parameters, &element);
      const V scale = {Widened<Lane>(in[kTensors].Get(k)) * scale_of_all.v};
      for (int slot = 0; slot < kTensors; ++slot) {
        if (!job_.gradients[slot].data) continue;
        const V value = Canonical(element.gradient[slot] * scale);
        const T stored = Narrowed<T>(value.v);
        gradients[slot].Put(k, stored);
        NoteGradient(element.gradient[slot].v, scale.v,
                     Widened<double>(stored));
      }
      if (job_.losses.data) {
        const T stored = Narrowed<T>(Canonical(element.loss).v);
        losses.Put(k, stored);
        noticed_.Output(Widened<double>(stored));
      }
      sum += static_cast<double>(element.loss.v);
    }
    for (int slot = 0; slot < kTensors; ++slot) {
      uint8_t* to = job_.gradients[slot].data;
      if (!to) continue;
      StorePacket(gradients[slot], count, reinterpret_cast<T*>(to) + i);
    }
    if (job_.losses.data) {
      StorePacket(losses, count, reinterpret_cast<T*>(job_.losses.data) + i);
    }
    return sum;
  }

  const JobDescriptor& job_;
  Noticed noticed_;
};
