// SPDX-License-Identifier: Apache-2.0
//
// How row losses run: a row at a time; rows that interleave in memory are
// gathered first.

template <class M, class V>
class RowKernel {
 public:
  using Lane = typename V::Lane;
  static constexpr int kOperandCount =
      static_cast<int>(sizeof(M::kOperands) / sizeof(M::kOperands[0]));

  static constexpr int kTiles = 2 * kOperandCount + 4;
  static constexpr int kScratchTiles = kTiles + M::kWorkspaceRows;
  // Tiles up to here are on the stack.
  static constexpr int64_t kSmallTile = 32;

  static Findings Run(const Job& job, int64_t begin, int64_t end) {
    RowKernel kernel(job);
    if constexpr (M::kUsesLabelOnly) {
      if (kernel.NeedsLabelsOnly()) {
        for (int64_t row = begin; row < end; ++row) kernel.RunLabel(row);
        return kernel.findings_;
      }
    }
    for (int64_t row = begin; row < end; ++row) kernel.RunRow(row);
    if (kernel.streams_) V::EndStream();
    return kernel.findings_;
  }

 private:
  explicit RowKernel(const Job& job)
      : job_(job),
        geometry_(*job.geometry),
        // A tile must be addressable even where rows are empty.
        tile_((geometry_.row_length + V::kLanes) / V::kLanes * V::kLanes),
        scratch_(job.Scratch(tile_ <= kSmallTile
                                 ? 0
                                 : kScratchTiles * tile_ *
                                       static_cast<int64_t>(sizeof(Lane)))),
        tiles_(tile_ <= kSmallTile ? small_
                                   : reinterpret_cast<Lane*>(scratch_.data())),
        classes_(job.Scratch(HasClasses() ? geometry_.row_length * 8 : 0)),
        streams_(Streams()) {
    for (int slot = 0; slot < kMaxTensors; ++slot) {
      if (job.loss->schema.tensors.size() > static_cast<size_t>(slot) &&
          job.loss->schema.tensors[slot].role == TensorRole::kMask &&
          job.arguments->has(slot)) {
        mask_ = slot;
      }
    }
    for (int slot = 0; slot < kOperandCount; ++slot) {
      if (M::kOperands[slot] == Operand::kShared && job.arguments->has(slot)) {
        const TensorView& tensor = job.arguments->tensor(slot);
        shared_[slot] = LoadTile<V>(tensor, 0, tensor.elements, Scratch(slot));
        Inspect<V>(job, slot, shared_[slot], tensor.elements, &findings_);
      }
    }
  }

  // Whether rows of slot 0's gradient go past the caches.
  bool Streams() const {
    const Destination& to = job_.gradients[0];
    return M::kStreams && to.data != nullptr && geometry_.inner == 1 &&
           IsInPlace<Lane>(to.dtype, to.data) &&
           reinterpret_cast<uintptr_t>(to.data) % 64 == 0 &&
           geometry_.row_length * static_cast<int64_t>(sizeof(Lane)) % 64 ==
               0 &&
           2 * geometry_.rows * geometry_.row_length *
                   static_cast<int64_t>(sizeof(Lane)) >
               kStreamingBytes;
  }

  static constexpr bool HasClasses() {
    for (Operand operand : M::kOperands) {
      if (operand == Operand::kClasses) return true;
    }
    return false;
  }

  Lane* Scratch(int tile) { return tiles_ + tile * tile_; }

  // The linear index of a row's first element in a tensor of slot 0's layout.
  int64_t First(int64_t row) const {
    return row / geometry_.inner * geometry_.row_length * geometry_.inner +
           row % geometry_.inner;
  }

  // Sets *finite if it is known that the row is.
  const Lane* LoadRow(const TensorView& tensor, int64_t row, Lane* scratch,
                      bool copy, bool* finite) const {
    const int64_t n = geometry_.row_length;
    *finite = false;
    if (geometry_.inner == 1 && sizeof(Lane) == 8 &&
        tensor.dtype == Dtype::kFloat32) {
      *finite = WidenFloats<V>(tensor.data + First(row) * 4, n, scratch);
      return scratch;
    }
    if (geometry_.inner == 1 && !copy) {
      return LoadTile<V>(tensor, First(row), n, scratch);
    }
    WidenTile<V>(tensor, First(row), n, geometry_.inner, scratch);
    return scratch;
  }

  static bool HasRows(const TensorView& tensor, Operand operand) {
    if (operand == Operand::kRow) return tensor.present();
    if (operand == Operand::kRowOrClass) return IsFloating(tensor.dtype);
    return operand == Operand::kRowOrScalar && tensor.shape.size() == 2;
  }

  void LoadOperands(int64_t index, Row<V>* row) {
    for (int slot = 0; slot < kOperandCount; ++slot) {
      const TensorView& tensor = job_.arguments->tensor(slot);
      const Operand operand = M::kOperands[slot];
      row->operand[slot] = shared_[slot];
      if (HasRows(tensor, operand)) {
        row->operand[slot] =
            LoadRow(tensor, index, Scratch(slot), mask_ >= 0, &finite_[slot]);
      } else if (operand == Operand::kClass ||
                 operand == Operand::kRowOrClass) {
        row->label = tensor.IndexAt(index);
      } else if (operand == Operand::kRowOrScalar ||
                 operand == Operand::kScalar) {
        row->scalar[slot] = tensor.ValueAt(index);
      } else if (operand == Operand::kClasses) {
        LoadClasses(tensor, index, row);
      }
    }
    if (mask_ >= 0) ClearMasked(row);
    if (ignored_) return;
    for (int slot = 0; slot < kOperandCount; ++slot) {
      if (shared_[slot] || (M::kInspectsInput && slot == 0)) continue;
      if (row->operand[slot] && finite_[slot] && !IsBounded(slot)) continue;
      if (row->operand[slot]) {
        const bool one = M::kUsesLabelOnly && !UsesWholeRow();
        const int64_t first = one ? row->label : 0;
        Inspect<V>(job_, slot, row->operand[slot] + first,
                   one ? 1 : row->length, &findings_);
      } else if ((M::kOperands[slot] == Operand::kRowOrScalar ||
                  M::kOperands[slot] == Operand::kScalar) &&
                 row->length > 0) {
        const Lane value = static_cast<Lane>(row->scalar[slot]);
        Inspect<V>(job_, slot, &value, 1, &findings_);
      }
    }
  }

  bool IsBounded(int slot) const {
    const TensorSchema& schema = job_.loss->schema.tensors[slot];
    return schema.minimum.has_value() || schema.maximum.has_value();
  }

  void LoadClasses(const TensorView& tensor, int64_t index, Row<V>* row) {
    auto* classes = reinterpret_cast<int64_t*>(classes_.data());
    const int64_t first = index * geometry_.row_length;
    int64_t count = 0;
    while (count < geometry_.row_length) {
      const int64_t label = tensor.IndexAt(first + count);
      if (label < 0) break;
      classes[count++] = label;
    }
    row->classes = classes;
    row->class_count = count;
  }

  // Whether an output other than the loss and its gradients is wanted.
  bool UsesWholeRow() const {
    return job_.probabilities.data || job_.log_probabilities.data ||
           job_.predicted_classes;
  }

  // Puts zeros where the mask is zero, so that nothing there can matter.
  void ClearMasked(Row<V>* row) {
    const Lane* mask = row->operand[mask_];
    bool any = false;
    for (int64_t i = 0; i < row->length; ++i) any |= mask[i] != 0;
    for (int slot = 0; slot < kOperandCount; ++slot) {
      if (!any) row->scalar[slot] = 0;
      if (!row->operand[slot] || slot == mask_) continue;
      Lane* values = Scratch(slot);
      for (int64_t i = 0; i < row->length; ++i) {
        values[i] = mask[i] != 0 ? values[i] : Lane{0};
      }
    }
  }

  bool IsIgnored(int64_t index) const {
    if (!M::kHasIgnoreIndex) return false;
    for (int slot = 0; slot < kOperandCount; ++slot) {
      const TensorView& tensor = job_.arguments->tensor(slot);
      const Operand operand = M::kOperands[slot];
      if ((operand == Operand::kClass || operand == Operand::kRowOrClass) &&
          !IsFloating(tensor.dtype)) {
        return static_cast<double>(tensor.IndexAt(index)) ==
               geometry_.parameters[0];
      }
    }
    return false;
  }

  // Whether nothing is read or written but the labels' elements, and zeros that
  // are contiguous floats.
  bool NeedsLabelsOnly() const {
    const Destination& to = job_.gradients[0];
    return !UsesWholeRow() && !job_.gradients[2].data &&
           (to.data == nullptr ||
            (to.dtype == Dtype::kFloat32 && geometry_.inner == 1));
  }

  // As RunRow, for a loss with slots 0, 1 and 2 for input, class and weight.
  void RunLabel(int64_t index) {
    const int64_t label = job_.arguments->tensor(1).IndexAt(index);
    const int64_t first = First(index);
    uint8_t* gradient = job_.gradients[0].data;
    if (gradient) {
      gradient += first * 4;
      std::memset(gradient, 0, static_cast<size_t>(geometry_.row_length) * 4);
    }
    RowResult result;
    if (!IsIgnored(index)) {
      const Lane x = static_cast<Lane>(
          job_.arguments->tensor(0).ValueAt(first + label * geometry_.inner));
      Inspect<V>(job_, 0, &x, 1, &findings_);
      const double w =
          shared_[2] ? static_cast<double>(shared_[2][label]) : 1.0;
      double scale = job_.gradient_scale;
      if (job_.grad_output.present()) scale *= job_.grad_output.ValueAt(index);
      double slope;
      result.loss = M::EvaluateLabel(static_cast<double>(x), w, scale, &slope);
      if (gradient) {
        const float stored = CanonicalLane(static_cast<float>(slope));
        std::memcpy(gradient + label * 4, &stored, 4);
        result.underflow += stored == 0 && w != 0 && scale != 0;
        findings_.result_nan |= stored != stored;
        findings_.result_infinity |= std::isinf(stored);
      }
    }
    Record(index, result);
  }

  void RunRow(int64_t index) {
    Row<V> row = {};
    row.length = geometry_.row_length;
    row.parameters = geometry_.parameters.data();
    row.label = -1;
    row.mean = job_.mean;
    row.scale = job_.gradient_scale;
    row.wants_predicted = job_.predicted_classes != nullptr;
    row.streams = streams_;
    row.workspace = Scratch(kTiles);
    row.stride = tile_;
    ignored_ = IsIgnored(index);
    LoadOperands(index, &row);
    int tile = kOperandCount;
    if (job_.grad_output.present()) {
      if (geometry_.loss_per_element) {
        row.scales = LoadTile<V>(job_.grad_output, First(index), row.length,
                                 Scratch(tile));
      } else {
        row.scale *= job_.grad_output.ValueAt(index);
      }
    }
    ++tile;
    const int64_t first = First(index);
    const auto output = [&](const Destination& to) {
      return OutputTile<V>(to, first, geometry_.inner, Scratch(tile++));
    };
    const OutputTile<V> p = output(job_.probabilities);
    const OutputTile<V> log_p = output(job_.log_probabilities);
    const Destination none;
    const OutputTile<V> losses =
        output(geometry_.loss_per_element ? job_.elementwise_losses : none);
    row.probability = p.data();
    row.log_probability = log_p.data();
    row.loss = losses.data();
    for (int slot = 0; slot < kOperandCount; ++slot) {
      row.gradient[slot] = OutputTile<V>(job_.gradients[slot], first,
                                         geometry_.inner, Scratch(tile + slot))
                               .data();
    }
    RowResult result;
    if (ignored_) {
      Ignore(&row, &result);
    } else {
      M::Evaluate(row, &result);
      if (result.broken) {
        Inspect<V>(job_, 0, row.operand[0], row.length, &findings_);
      }
    }
    p.Flush(row.length, &findings_, false);
    log_p.Flush(row.length, &findings_, false);
    losses.Flush(row.length, &findings_, false);
    FlushGradients(&row, result, first, tile);
    Record(index, result);
  }

  void FlushGradients(Row<V>* row, const RowResult& result, int64_t first,
                      int tile) {
    for (int slot = 0; slot < kOperandCount; ++slot) {
      const bool inspected = slot == 0 && result.inspected;
      if (inspected && result.broken_gradient) Canonicalize(row);
      OutputTile<V>(job_.gradients[slot], first, geometry_.inner,
                    Scratch(tile + slot))
          .Flush(row->length, &findings_, true,
                 inspected && !result.broken_gradient);
    }
  }

  // One NaN for all in slot 0's gradient.
  static void Canonicalize(Row<V>* row) {
    for (int64_t i = 0; i < row->length; ++i) {
      row->gradient[0][i] = CanonicalLane(row->gradient[0][i]);
    }
  }

  // An ignored row gives exact zeros; its activations are still its own.
  void Ignore(Row<V>* row, RowResult* result) {
    for (int slot = 0; slot < kOperandCount; ++slot) {
      if (row->gradient[slot]) FillZero<V>(row->gradient[slot], row->length);
    }
    if (!row->probability && !row->log_probability && !row->wants_predicted)
      return;
    Row<V> activations = *row;
    activations.label = 0;
    for (Lane*& gradient : activations.gradient) gradient = nullptr;
    if (activations.length > 0) M::Evaluate(activations, result);
    result->loss = result->total = 0;
    result->underflow = 0;
  }

  void Record(int64_t index, RowResult result) {
    if (!M::kHasTotal) result.total = result.loss;
    findings_.underflow += result.underflow;
    if (job_.predicted_classes)
      job_.predicted_classes[index] = result.predicted;
    if (job_.elementwise_losses.data && !geometry_.loss_per_element) {
      const double loss = CanonicalLane(result.loss);
      NarrowTile<Single>(&loss, 1, job_.elementwise_losses, index, 1,
                         &findings_.result_infinity);
      findings_.result_nan |= loss != loss;
      findings_.result_infinity |= std::isinf(loss);
    }
    if (!job_.unit_sums) return;
    job_.unit_sums[kNumeratorSum * job_.units + index] = result.loss;
    job_.unit_sums[kTotalSum * job_.units + index] = result.total;
    const int64_t metrics =
        static_cast<int64_t>(job_.loss->schema.metrics.size());
    for (int64_t i = 0; i < metrics; ++i) {
      job_.unit_sums[(kMetricSums + i) * job_.units + index] = result.sums[i];
    }
  }

  const Job& job_;
  const Geometry& geometry_;
  const int64_t tile_;
  alignas(64) Lane small_[kScratchTiles * kSmallTile];
  AlignedBuffer scratch_;
  Lane* const tiles_;
  AlignedBuffer classes_;
  const bool streams_;
  int mask_ = -1;
  bool ignored_ = false;
  bool finite_[kMaxTensors] = {};  // the operands of the row
  const Lane* shared_[kMaxTensors] = {};
  Findings findings_;
};
