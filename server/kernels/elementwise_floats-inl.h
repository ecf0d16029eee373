// SPDX-License-Identifier: Apache-2.0
//
// How elementwise losses run where all that they read and write is float: a
// leaf in one pass, from memory through registers to memory, a Block at a time.

template <template <class> class Math, class V>
class FloatElementwiseKernel {
 public:
  using Block = typename V::Block;
  using M = Math<Block>;

  // Whether the job's tensors and outputs are all float, of the loss's shape or
  // of one element, and the activations are not wanted.
  static bool Fits(const Job& job) {
    if (job.probabilities.data || job.log_probabilities.data ||
        job.predicted_classes || !IsFloat(job.elementwise_losses)) {
      return false;
    }
    const Geometry& geometry = *job.geometry;
    for (int slot = 0; slot < M::kTensors; ++slot) {
      const TensorView& tensor = job.arguments->tensor(slot);
      const auto& view = geometry.views[slot];
      if (!IsFloat(job.gradients[slot]) ||
          !IsDirect(tensor, view ? *view : tensor.shape, geometry)) {
        return false;
      }
    }
    return IsDirect(job.grad_output, job.grad_output.shape, geometry);
  }

  static Findings Run(const Job& job, int64_t begin, int64_t end) {
    FloatElementwiseKernel kernel(job);
    const auto run = [&](auto... constants) {
      for (int64_t leaf = begin; leaf < end; ++leaf) {
        kernel.RunLeaf<decltype(constants)::value...>(leaf);
      }
    };
    using None = std::integral_constant<int, M::kTensors - M::kOptional>;
    using All = std::integral_constant<int, M::kTensors>;
    const auto present = [&](auto want, auto streams) {
      if (kernel.HasOptional()) {
        run(want, streams, All());
      } else {
        run(want, streams, None());
      }
    };
    using std::bool_constant;
    switch (kernel.want_) {
      case Want::kLoss:
        present(Constant<Want::kLoss>(), bool_constant<false>());
        break;
      case Want::kLossAndInput:
        if (kernel.Streams()) {
          present(Constant<Want::kLossAndInput>(), bool_constant<true>());
        } else {
          present(Constant<Want::kLossAndInput>(), bool_constant<false>());
        }
        break;
      default:
        if (kernel.Streams()) {
          run(Constant<Want::kEverything>(), bool_constant<true>(), All());
        } else {
          run(Constant<Want::kEverything>(), bool_constant<false>(), All());
        }
    }
    if (kernel.Streams()) V::EndStream();
    return kernel.findings_;
  }

 private:
  template <Want want>
  using Constant = std::integral_constant<Want, want>;

  // The outputs: a gradient by slot, and the losses.
  static constexpr int kLosses = M::kTensors;
  static constexpr int kOutputs = M::kTensors + 1;
  // The inputs: a tensor by slot, and grad_output.
  static constexpr int kGradOutput = M::kTensors;
  static constexpr int kInputs = M::kTensors + 1;

  static bool IsFloat(const Destination& to) {
    return to.data == nullptr || to.dtype == Dtype::kFloat32;
  }
  static bool IsDirect(const TensorView& tensor, const Shape& view,
                       const Geometry& geometry) {
    return !tensor.present() ||
           (tensor.dtype == Dtype::kFloat32 &&
            (tensor.elements == 1 || view == geometry.loss_shape));
  }

  // One operand: a float at each element, or, with no step, the same 16 or more
  // everywhere.
  struct Source {
    const uint8_t* from = nullptr;
    int64_t step = 0;  // bytes to the next element
    alignas(64) float uniform[Block::kLanes];
  };

  explicit FloatElementwiseKernel(const Job& job) : job_(job) {
    for (int slot = 0; slot < M::kTensors; ++slot) {
      const TensorView& tensor = job.arguments->tensor(slot);
      SetSource(tensor, &sources_[slot]);
      const TensorSchema& schema = job.loss->schema.tensors[slot];
      bounded_[slot] = tensor.present() && (schema.minimum.has_value() ||
                                            schema.maximum.has_value());
      outputs_[slot] = job.gradients[slot].data;
    }
    SetSource(job.grad_output, &sources_[kGradOutput]);
    outputs_[kLosses] = job.elementwise_losses.data;
    bool beyond_input =
        outputs_[kLosses] != nullptr || job.grad_output.present();
    for (int slot = 1; slot < M::kTensors; ++slot) {
      beyond_input |= outputs_[slot] != nullptr;
    }
    want_ = beyond_input  ? Want::kEverything
            : outputs_[0] ? Want::kLossAndInput
                          : Want::kLoss;
  }

  static void SetSource(const TensorView& tensor, Source* source) {
    if (tensor.present() && tensor.elements != 1) {
      source->from = tensor.data;
      source->step = 4;
      return;
    }
    const double value = tensor.present() ? tensor.ValueAt(0) : 1.0;
    for (float& lane : source->uniform) lane = static_cast<float>(value);
    source->from = reinterpret_cast<const uint8_t*>(source->uniform);
  }

  bool HasOptional() const {
    bool has = false;
    for (int slot = M::kTensors - M::kOptional; slot < M::kTensors; ++slot) {
      has |= job_.arguments->tensor(slot).present();
    }
    return has;
  }

  // Whether outputs go past the caches.
  bool Streams() const {
    int64_t tensors = 0;
    bool aligned = true;
    for (const Source& source : sources_) tensors += source.step != 0;
    for (const uint8_t* output : outputs_) {
      tensors += output != nullptr;
      aligned &= reinterpret_cast<uintptr_t>(output) % 64 == 0;
    }
    return aligned && want_ != Want::kLoss &&
           tensors * job_.geometry->element_count * 4 > kStreamingBytes;
  }

  // Where element i of a leaf is.
  const uint8_t* At(int input, int64_t i) const {
    return sources_[input].from + (begin_ + i) * sources_[input].step;
  }

  template <Want want, bool streams, int present>
  void RunLeaf(int64_t leaf) {
    begin_ = leaf * kLeaf;
    const int64_t left = job_.geometry->element_count - begin_;
    const int64_t n = left < kLeaf ? left : kLeaf;
    for (int slot = 0; slot < M::kTensors; ++slot) {
      if (bounded_[slot]) InspectDomain(slot, n);
    }
    Registers registers;
    Tensors tensors = TensorsOf();
    const Block scale = Block::Set(job_.gradient_scale);
    int64_t i = 0;
    for (; i + Block::kLanes <= n; i += Block::kLanes) {
      Step<want, streams, present, false>(tensors, scale, i, n, &registers);
    }
    if (i < n) {
      Tail tail;
      const Tensors ends = tail.Open(tensors, i, n - i);
      Step<want, streams, present, true>(ends, scale, 0, n - i, &registers);
      tail.Close(tensors, i, n - i);
    }
    const double sum = SumOfLanes(registers.sum);
    if (job_.unit_sums) {
      job_.unit_sums[kNumeratorSum * job_.units + leaf] = sum;
      job_.unit_sums[kTotalSum * job_.units + leaf] = sum;
    }
    if (IsFlagged(registers.input_flag)) FlagInputs(n);
    if constexpr (want != Want::kLoss) {
      findings_.underflow += registers.Lost();
      if (IsFlagged(registers.output_flag)) FlagOutputs(n);
    }
  }

  // What a leaf gathers. Only functions that are inlined see its address, or
  // the compiler would keep it in memory.
  struct Registers {
    typename V::Wide sum;
    Block lost;
    // 0 until there is NaN or infinity, then NaN.
    Block input_flag, output_flag;

    // Not by initialisers: the implicit constructor would be compiled for
    // another instruction set.
    LOSSD_FN Registers() {
      sum = V::Wide::Set(0.0);
      lost = input_flag = output_flag = Block::Set(0.0);
    }
    LOSSD_FN int64_t Lost() const {
      double count = 0;
      for (int part = 0; part < Block::kLanes / V::kLanes; ++part) {
        count += SumOfLanes(Widen(lost.Part(part)));
      }
      return static_cast<int64_t>(count);
    }
  };
  static LOSSD_FN bool IsFlagged(const Block& flag) {
    return Any(Not(flag == Block::Set(0.0)));
  }

  // Where a leaf's operands and outputs are.
  struct Tensors {
    const uint8_t* from[kInputs];
    int64_t step[kInputs];  // bytes to the next element, or 0
    uint8_t* to[kOutputs];  // null: not wanted
  };
  LOSSD_FN Tensors TensorsOf() const {
    Tensors tensors;
    for (int input = 0; input < kInputs; ++input) {
      tensors.from[input] = At(input, 0);
      tensors.step[input] = sources_[input].step;
    }
    for (int output = 0; output < kOutputs; ++output) {
      tensors.to[output] =
          outputs_[output] ? outputs_[output] + begin_ * 4 : nullptr;
    }
    return tensors;
  }

  // The last n elements of a leaf, fewer than a Block, in memory of their own:
  // the first of them repeated past the end raises no flag that it does not
  // raise itself.
  struct Tail {
    alignas(64) float operands[kInputs][Block::kLanes];
    alignas(64) float results[kOutputs][Block::kLanes];

    Tensors Open(const Tensors& tensors, int64_t begin, int64_t n) {
      Tensors tail = {};
      for (int input = 0; input < kInputs; ++input) {
        for (int64_t k = 0; k < Block::kLanes; ++k) {
          const int64_t i = begin + (k < n ? k : 0);
          std::memcpy(&operands[input][k],
                      tensors.from[input] + i * tensors.step[input], 4);
        }
        tail.from[input] = reinterpret_cast<const uint8_t*>(operands[input]);
      }
      for (int output = 0; output < kOutputs; ++output) {
        if (!tensors.to[output]) continue;
        tail.to[output] = reinterpret_cast<uint8_t*>(results[output]);
      }
      return tail;
    }
    void Close(const Tensors& tensors, int64_t begin, int64_t n) const {
      for (int output = 0; output < kOutputs; ++output) {
        if (!tensors.to[output]) continue;
        std::memcpy(tensors.to[output] + begin * 4, results[output],
                    static_cast<size_t>(n) * 4);
      }
    }
  };

  // The Block at element i of the tensors; with is_tail n elements of it.
  template <Want want, bool streams, int present, bool is_tail>
  LOSSD_FN void Step(const Tensors& tensors, const Block& scale, int64_t i,
                     int64_t n, Registers* registers) const {
    Block operand[M::kTensors];
    for (int slot = 0; slot < M::kTensors; ++slot) {
      if (slot >= present) {
        operand[slot] = Block::Set(1.0);
        continue;
      }
      operand[slot] =
          Block::LoadFloats(tensors.from[slot] + i * tensors.step[slot]);
      registers->input_flag =
          Fma(operand[slot], Block::Set(0.0), registers->input_flag);
    }
    Element<Block> element;
    M::Evaluate(operand, job_.geometry->parameters.data(), &element);
    if constexpr (want == Want::kLossAndInput) {
      PutGradient<streams, is_tail>(element.gradient[0], scale,
                                    tensors.to[0] + i * 4, n, registers);
    } else if constexpr (want == Want::kEverything) {
      const Block scales = Block::LoadFloats(tensors.from[kGradOutput] +
                                             i * tensors.step[kGradOutput]) *
                           scale;
      for (int slot = 0; slot < M::kTensors; ++slot) {
        if (!tensors.to[slot]) continue;
        PutGradient<streams, is_tail>(element.gradient[slot], scales,
                                      tensors.to[slot] + i * 4, n, registers);
      }
      if (tensors.to[kLosses]) {
        Put<streams>(element.loss, tensors.to[kLosses] + i * 4, registers);
      }
    }
    for (int part = 0; part < Block::kLanes / V::kLanes; ++part) {
      V loss = element.loss.Part(part);
      if constexpr (is_tail) {
        const int64_t live = n - part * V::kLanes;
        loss = Select(LiveLanes<V>(live < 0 ? 0 : live), loss, V::Set(0.0));
      }
      registers->sum = registers->sum + Widen(loss);
    }
  }

  template <bool streams, bool is_tail>
  static LOSSD_FN void PutGradient(const Block& gradient, const Block& scales,
                                   uint8_t* to, int64_t n,
                                   Registers* registers) {
    const Block zero = Block::Set(0.0);
    const Block stored = Put<streams>(gradient * scales, to, registers);
    auto underflow =
        (stored == zero) & Not(gradient == zero) & Not(scales == zero);
    if constexpr (is_tail) underflow = underflow & LiveLanes<Block>(n);
    registers->lost =
        registers->lost + Select(underflow, Block::Set(1.0), zero);
  }

  // Gives back what was stored.
  template <bool streams>
  static LOSSD_FN Block Put(const Block& value, uint8_t* to,
                            Registers* registers) {
    const Block stored =
        streams ? value.StreamFloats(to) : value.StoreFloats(to);
    registers->output_flag =
        Fma(stored, Block::Set(0.0), registers->output_flag);
    return stored;
  }

  // Cold: the lanes of float at an address, one at a time.
  static float FloatAt(const uint8_t* floats, int64_t i) {
    float value;
    std::memcpy(&value, floats + i * 4, 4);
    return value;
  }

  void InspectDomain(int slot, int64_t n) {
    const TensorSchema& schema = job_.loss->schema.tensors[slot];
    const int64_t elements = sources_[slot].step == 0 ? 1 : n;
    if (LeavesDomainOfFloats<V>(At(slot, 0), elements, schema)) {
      findings_.outside_domain |= 1u << slot;
    }
  }

  // Some operand of this leaf is NaN or infinite: which?
  void FlagInputs(int64_t n) {
    for (int slot = 0; slot < M::kTensors; ++slot) {
      const int64_t elements = sources_[slot].step == 0 ? 1 : n;
      for (int64_t i = 0; i < elements; ++i) {
        const float value = FloatAt(At(slot, 0), i);
        findings_.input_nan |= value != value;
        findings_.input_infinity |= std::isinf(value);
      }
    }
  }

  // Some output of this leaf is: NaN becomes the one for all.
  void FlagOutputs(int64_t n) {
    for (uint8_t* output : outputs_) {
      for (int64_t i = begin_; output && i < begin_ + n; ++i) {
        const float value = FloatAt(output, i);
        const float canonical = CanonicalLane(value);
        std::memcpy(output + i * 4, &canonical, 4);
        findings_.result_nan |= value != value;
        findings_.result_infinity |= std::isinf(value);
      }
    }
  }

  const Job& job_;
  Want want_;
  int64_t begin_ = 0;  // of the leaf
  Source sources_[kInputs];
  bool bounded_[M::kTensors] = {};
  uint8_t* outputs_[kOutputs] = {};  // null: not wanted
  Findings findings_;
};
