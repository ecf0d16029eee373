// SPDX-License-Identifier: Apache-2.0
//
// How elementwise losses run: a leaf of kLeaf elements at a time.

enum class Want { kLoss, kLossAndInput, kEverything };

template <class M, class V>
class ElementwiseKernel {
 public:
  using Lane = typename V::Lane;

  static Findings Run(const Job& job, int64_t begin, int64_t end) {
    ElementwiseKernel kernel(job);
    for (int64_t leaf = begin; leaf < end; ++leaf) kernel.RunLeaf(leaf);
    return kernel.findings_;
  }

 private:
  explicit ElementwiseKernel(const Job& job)
      : job_(job),
        scratch_(job.Scratch((2 * kMaxTensors + 4) * kLeaf *
                             static_cast<int64_t>(sizeof(Lane)))) {
    for (int slot = 1; slot < kMaxTensors; ++slot) {
      beyond_input_ |= job.gradients[slot].data != nullptr;
    }
    const bool extra = job.elementwise_losses.data || job.probabilities.data ||
                       job.log_probabilities.data || job.predicted_classes ||
                       job.grad_output.present();
    want_ = extra || beyond_input_             ? Want::kEverything
            : job.gradients[0].data != nullptr ? Want::kLossAndInput
                                               : Want::kLoss;
  }

  Lane* Scratch(int tile) {
    return reinterpret_cast<Lane*>(scratch_.data()) + tile * kLeaf;
  }

  // One operand: a tile, or one value for all.
  struct Source {
    const Lane* tile = nullptr;
    double uniform = 1.0;

    LOSSD_FN V Get(int64_t i, int64_t n) const {
      return tile ? LoadUpTo<V>(tile + i, n) : V::Set(uniform);
    }
  };

  // `view` is the tensor's shape as it broadcasts.
  Source Load(const TensorView& tensor, const Shape& view, int64_t begin,
              int64_t n, Lane* scratch) {
    const Shape& shape = job_.geometry->loss_shape;
    Source source;
    if (!tensor.present()) return source;
    if (tensor.elements == 1) {
      source.uniform = tensor.ValueAt(0);
    } else if (view == shape) {
      source.tile = LoadTile<V>(tensor, begin, n, scratch);
    } else {
      BroadcastTile<V>(tensor, view, shape, job_.first_element + begin, n,
                       scratch);
      source.tile = scratch;
    }
    return source;
  }

  void InspectSource(int slot, const Source& source, int64_t n) {
    if (source.tile) {
      Inspect<V>(job_, slot, source.tile, n, &findings_);
    } else {
      Lane value[V::kLanes];
      V::Set(source.uniform).Store(value);
      Inspect<V>(job_, slot, value, V::kLanes, &findings_);
    }
  }

  void RunLeaf(int64_t leaf) {
    const int64_t begin = leaf * kLeaf;
    const int64_t left = job_.geometry->element_count - begin;
    const int64_t n = left < kLeaf ? left : kLeaf;
    int tile = 0;
    for (int slot = 0; slot < M::kTensors; ++slot) {
      const TensorView& tensor = job_.arguments->tensor(slot);
      const auto& view = job_.geometry->views[slot];
      sources_[slot] =
          Load(tensor, view ? *view : tensor.shape, begin, n, Scratch(tile++));
      if (tensor.present()) InspectSource(slot, sources_[slot], n);
    }
    grad_output_ = Load(job_.grad_output, job_.grad_output.shape, begin, n,
                        Scratch(tile++));

    const OutputTile<V> losses(job_.elementwise_losses, begin, 1,
                               Scratch(tile++));
    const OutputTile<V> p(job_.probabilities, begin, 1, Scratch(tile++));
    const OutputTile<V> log_p(job_.log_probabilities, begin, 1,
                              Scratch(tile++));
    outputs_ = {losses.data(), p.data(), log_p.data(), {}, nullptr};
    if (job_.predicted_classes)
      outputs_.predicted = job_.predicted_classes + begin;
    const Destination* to = job_.gradients.data();
    for (int slot = 0; slot < M::kTensors; ++slot) {
      outputs_.gradient[slot] =
          OutputTile<V>(to[slot], begin, 1, Scratch(tile + slot)).data();
    }
    const double sum = Dispatch(n);
    if (job_.unit_sums) {
      job_.unit_sums[kNumeratorSum * job_.units + leaf] = sum;
      job_.unit_sums[kTotalSum * job_.units + leaf] = sum;
    }
    losses.Flush(n, &findings_, false);
    p.Flush(n, &findings_, false);
    log_p.Flush(n, &findings_, false);
    for (int slot = 0; slot < M::kTensors; ++slot) {
      OutputTile<V>(to[slot], begin, 1, Scratch(tile + slot))
          .Flush(n, &findings_, true);
    }
  }

  double Dispatch(int64_t n) {
    switch (want_) {
      case Want::kLoss:
        return Loop<Want::kLoss>(n);
      case Want::kLossAndInput:
        return Loop<Want::kLossAndInput>(n);
      default:
        return Loop<Want::kEverything>(n);
    }
  }

  template <Want want>
  double Loop(int64_t n) {
    typename V::Wide sum = V::Wide::Set(0.0);
    lost_ = V::Set(0.0);
    int64_t i = 0;
    for (; i + V::kLanes <= n; i += V::kLanes) {
      sum = sum + Widen(Step<want>(i, V::kLanes));
    }
    if (i < n) {
      const V tail = Step<want>(i, n - i);
      sum = sum + Widen(Select(V::FirstN(n - i), tail, V::Set(0.0)));
    }
    findings_.underflow += static_cast<int64_t>(SumOfLanes(Widen(lost_)));
    return SumOfLanes(sum);
  }

  template <Want want>
  LOSSD_FN V Step(int64_t i, int64_t n) {
    V operand[M::kTensors];
    for (int slot = 0; slot < M::kTensors; ++slot) {
      operand[slot] = sources_[slot].Get(i, n);
    }
    Element<V> element;
    M::Evaluate(operand, job_.geometry->parameters.data(), &element);
    if constexpr (want == Want::kLossAndInput) {
      StoreGradient(0, element.gradient[0], V::Set(job_.gradient_scale), i, n);
    } else if constexpr (want == Want::kEverything) {
      StoreEverything(element, i, n);
    }
    return element.loss;
  }

  LOSSD_FN void StoreGradient(int slot, const V& gradient, const V& scale,
                              int64_t i, int64_t n) {
    const V value = gradient * scale;
    const V zero = V::Set(0.0);
    const auto underflow = (value == zero) & Not(gradient == zero) &
                           Not(scale == zero) & LiveLanes<V>(n);
    lost_ = lost_ + Select(underflow, V::Set(1.0), zero);
    StoreUpTo(Canonical(value), outputs_.gradient[slot] + i, n);
  }

  LOSSD_FN void StoreEverything(const Element<V>& element, int64_t i,
                                int64_t n) {
    const V scale = grad_output_.Get(i, n) * V::Set(job_.gradient_scale);
    for (int slot = 0; slot < M::kTensors; ++slot) {
      if (outputs_.gradient[slot]) {
        StoreGradient(slot, element.gradient[slot], scale, i, n);
      }
    }
    if (outputs_.loss) StoreUpTo(Canonical(element.loss), outputs_.loss + i, n);
    if constexpr (M::kHasProbabilities) {
      if (outputs_.p)
        StoreUpTo(Canonical(element.probability), outputs_.p + i, n);
      if (outputs_.log_p) {
        StoreUpTo(Canonical(element.log_probability), outputs_.log_p + i, n);
      }
      if (outputs_.predicted) {
        Lane classes[V::kLanes];
        Select(element.predicted, V::Set(1.0), V::Set(0.0)).Store(classes);
        for (int64_t k = 0; k < n && k < V::kLanes; ++k) {
          outputs_.predicted[i + k] = classes[k] != 0;
        }
      }
    }
  }

  struct Outputs {
    Lane* loss;
    Lane* p;
    Lane* log_p;
    Lane* gradient[kMaxTensors];
    int64_t* predicted;
  };

  const Job& job_;
  AlignedBuffer scratch_;
  Want want_;
  bool beyond_input_ = false;
  Source sources_[kMaxTensors];
  Source grad_output_;
  Outputs outputs_ = {};
  V lost_ = V::Set(0.0);
  Findings findings_;
};
