// SPDX-License-Identifier: Apache-2.0
//
// How row losses run: a group of threads takes a row at a time. Rows whose
// elements are not lanes that follow one another are gathered into the group's
// scratch first.

// The operands of a loss. Device code cannot index a constant of the class.
template <class M>
struct Operands {
  static constexpr int kCount =
      static_cast<int>(sizeof(M::kOperands) / sizeof(M::kOperands[0]));
  Operand of[kCount];

  static constexpr Operands Make() {
    Operands operands = {};
    for (int i = 0; i < kCount; ++i) operands.of[i] = M::kOperands[i];
    return operands;
  }
};

// Where a row of output is written: in place, or into a tile that Flush rounds
// into the output.
template <class V>
struct OutputRow {
  using Lane = typename V::Lane;
  OutputDescriptor to;
  int64_t begin = 0;
  int64_t stride = 1;
  Lane* tile = nullptr;  // null: not wanted
  bool in_place = false;

  // Each thread rounds its own elements.
  LOSSD_CALL void Flush(int64_t n, Noticed* noticed, bool counts_underflow) {
    if (tile == nullptr) return;
    for (int64_t i = FirstOf<V>(); i < n; i += StrideOf<V>()) {
      double stored = static_cast<double>(tile[i]);
      if (!in_place) {
        stored = PutElement(to, begin + i * stride, CanonicalLane(tile[i]));
        if (counts_underflow) noticed->underflow += stored == 0 && tile[i] != 0;
      }
      noticed->Output(stored);
    }
  }
};

template <class M, class V>
class RowGroup {
 public:
  using Lane = typename V::Lane;
  using G = typename V::Group;
  static constexpr int kOperandCount = Operands<M>::kCount;
  // The scratch of a group: a tile for each operand, for each output, and of
  // workspace; then a row's classes.
  static constexpr int kWorkspaceTile = 2 * kOperandCount + 4;
  static constexpr int kClassesTile = kWorkspaceTile + kWorkspaceRows;
  static_assert(M::kWorkspaceRows <= kWorkspaceRows);

  static LOSSD_CALL void Run(const Batch& batch, int64_t block_threads) {
    Units<G> units(batch, block_threads);
    RowGroup group(units.Scratch());
    const JobDescriptor* job;
    int64_t row;
    while (units.Next(&job, &row)) {
      G::Sync(__FILE__, __LINE__);  // the scratch is read no more
      if (job != group.job_) group.Begin(job);
      group.RunUnit(row);
      group.noticed_.Report(job->findings);
    }
  }

 private:
  LOSSD_FN explicit RowGroup(uint8_t* scratch)
      : scratch_(reinterpret_cast<Lane*>(scratch)) {}

  LOSSD_FN const TensorDescriptor& Tensor(int slot) const {
    return job_->tensors[slot];
  }
  static LOSSD_FN Operand OperandOf(int slot) {
    constexpr Operands<M> kOperands = Operands<M>::Make();
    return kOperands.of[slot];
  }
  LOSSD_FN Lane* Tile(int i) const { return scratch_ + i * tile_; }

  LOSSD_CALL void Begin(const JobDescriptor* job) {
    job_ = job;
    length_ = job->row_length;
    tile_ = (length_ + V::kLanes) / V::kLanes * V::kLanes;
    for (int slot = 0; slot < kOperandCount; ++slot) {
      shared_[slot] = nullptr;
      const TensorDescriptor& tensor = Tensor(slot);
      if (OperandOf(slot) != Operand::kShared || !IsPresent(tensor)) {
        continue;
      }
      shared_[slot] = Gather(tensor, 0, tensor.elements, 1, false, Tile(slot));
      Look(slot, shared_[slot], 0, tensor.elements);
    }
    G::Sync(__FILE__, __LINE__);  // for what all rows share
  }

  // The linear index of a row's first element in slot 0's layout.
  LOSSD_FN int64_t First(int64_t row) const {
    return row / job_->inner * length_ * job_->inner + row % job_->inner;
  }

  // n elements, `stride` apart, as lanes: in place, or in `tile`.
  LOSSD_CALL const Lane* Gather(const TensorDescriptor& tensor, int64_t begin,
                                int64_t n, int64_t stride, bool copy,
                                Lane* tile) const {
    if (stride == 1 && !copy && IsInPlace<Lane>(tensor.dtype)) {
      return reinterpret_cast<const Lane*>(tensor.data) + begin;
    }
    for (int64_t i = FirstOf<V>(); i < n; i += StrideOf<V>()) {
      tile[i] = ElementAt<Lane>(tensor, begin + i * stride);
    }
    return tile;
  }

  // Notices elements [begin, begin + n) of an operand.
  LOSSD_FN void Look(int slot, const Lane* x, int64_t begin, int64_t n) {
    for (int64_t i = begin + FirstOf<V>(); i < begin + n; i += StrideOf<V>()) {
      noticed_.Input(Tensor(slot), slot, x[i]);
    }
  }

  static LOSSD_FN bool HasRows(const TensorDescriptor& tensor,
                               Operand operand) {
    if (operand == Operand::kRow) return IsPresent(tensor);
    if (operand == Operand::kRowOrClass) return IsFloating(tensor.dtype);
    return operand == Operand::kRowOrScalar && tensor.dimensions == 2;
  }
  static LOSSD_FN bool HasScalar(Operand operand) {
    return operand == Operand::kRowOrScalar || operand == Operand::kScalar;
  }
  static LOSSD_FN bool HasClass(const TensorDescriptor& tensor,
                                Operand operand) {
    return operand == Operand::kClass ||
           (operand == Operand::kRowOrClass && !IsFloating(tensor.dtype));
  }

  // An output other than the loss and its gradients is wanted.
  LOSSD_FN bool UsesWholeRow() const {
    return job_->probabilities.data || job_->log_probabilities.data ||
           job_->predicted_classes;
  }

  LOSSD_CALL void LoadOperands(int64_t index, Row<V>* row) {
    for (int slot = 0; slot < kOperandCount; ++slot) {
      const TensorDescriptor& tensor = Tensor(slot);
      const Operand operand = OperandOf(slot);
      row->operand[slot] = shared_[slot];
      if (HasRows(tensor, operand)) {
        row->operand[slot] = Gather(tensor, First(index), length_, job_->inner,
                                    job_->mask >= 0, Tile(slot));
      } else if (HasClass(tensor, operand)) {
        row->label = IndexAt(tensor, index);
        if (M::kHasIgnoreIndex) {
          ignored_ |= static_cast<double>(row->label) == job_->parameters[0];
        }
      } else if (HasScalar(operand) && IsPresent(tensor)) {
        row->scalar[slot] = ElementAt<double>(tensor, index);
      } else if (operand == Operand::kClasses) {
        LoadClasses(tensor, index, row);
      }
    }
    if (job_->mask >= 0) ClearMasked(row);
    if (!ignored_) LookAtOperands(*row);
    G::Sync(__FILE__, __LINE__);  // for the tiles
  }

  LOSSD_CALL void LoadClasses(const TensorDescriptor& tensor, int64_t index,
                              Row<V>* row) const {
    auto* classes = reinterpret_cast<int64_t*>(Tile(kClassesTile));
    const int64_t first = index * length_;
    int64_t count = 0;
    for (; count < length_; ++count) {
      const int64_t label = IndexAt(tensor, first + count);
      if (label < 0) break;
      if (Owns<V>(count)) classes[count] = label;
    }
    row->classes = classes;
    row->class_count = count;
  }

  // Puts zeros where the mask is zero, so that nothing there can matter.
  LOSSD_CALL void ClearMasked(Row<V>* row) const {
    const Lane* mask = row->operand[job_->mask];
    bool any = false;
    for (int64_t i = FirstOf<V>(); i < length_; i += StrideOf<V>()) {
      any |= mask[i] != 0;
      for (int slot = 0; slot < kOperandCount; ++slot) {
        if (!row->operand[slot] || slot == job_->mask) continue;
        if (mask[i] == 0) Tile(slot)[i] = 0;
      }
    }
    if (G::Any(any)) return;
    for (double& scalar : row->scalar) scalar = 0;
  }

  LOSSD_CALL void LookAtOperands(const Row<V>& row) {
    const bool one = M::kUsesLabelOnly && !UsesWholeRow();
    for (int slot = 0; slot < kOperandCount; ++slot) {
      if (shared_[slot] || (M::kInspectsInput && slot == 0)) continue;
      if (row.operand[slot]) {
        if (!one) {
          Look(slot, row.operand[slot], 0, length_);
        } else if (Owns<V>(row.label)) {
          noticed_.Input(Tensor(slot), slot, row.operand[slot][row.label]);
        }
      } else if (HasScalar(OperandOf(slot)) && length_ > 0) {
        noticed_.Input(Tensor(slot), slot, static_cast<Lane>(row.scalar[slot]));
      }
    }
  }

  LOSSD_CALL OutputRow<V> OutputOf(const OutputDescriptor& to, int64_t first,
                                   int tile) const {
    OutputRow<V> row;
    if (to.data == nullptr) return row;
    row.to = to;
    row.begin = first;
    row.stride = job_->inner;
    row.in_place = job_->inner == 1 && IsInPlace<Lane>(to.dtype);
    row.tile =
        row.in_place ? reinterpret_cast<Lane*>(to.data) + first : Tile(tile);
    return row;
  }

  // A loss that is that of the label's element alone, with slots 0, 1 and 2 for
  // input, class and weight.
  LOSSD_CALL void RunLabel(int64_t index) {
    const int64_t label = IndexAt(Tensor(1), index);
    const int64_t first = First(index);
    const OutputDescriptor& to = job_->gradients[0];
    for (int64_t i = FirstOf<V>(); to.data && i < length_; i += StrideOf<V>()) {
      PutElement(to, first + i * job_->inner, 0.0);
    }
    RowResult result;
    const bool ignored =
        M::kHasIgnoreIndex && static_cast<double>(label) == job_->parameters[0];
    if (!ignored) {
      const Lane x = ElementAt<Lane>(Tensor(0), first + label * job_->inner);
      const double w =
          shared_[2] ? static_cast<double>(shared_[2][label]) : 1.0;
      double scale = job_->gradient_scale;
      if (IsPresent(job_->grad_output)) {
        scale *= ElementAt<double>(job_->grad_output, index);
      }
      double slope;
      result.loss = M::EvaluateLabel(static_cast<double>(x), w, scale, &slope);
      if (Owns<V>(label)) {
        noticed_.Input(Tensor(0), 0, x);
        if (to.data) {
          const double stored =
              PutElement(to, first + label * job_->inner, CanonicalLane(slope));
          noticed_.Output(stored);
          noticed_.underflow += stored == 0 && w != 0 && scale != 0;
        }
      }
    }
    Record(index, result);
  }

  LOSSD_CALL void RunUnit(int64_t index) {
    if constexpr (M::kUsesLabelOnly) {
      if (!UsesWholeRow() && !job_->gradients[2].data) return RunLabel(index);
    }
    Row<V> row = {};
    row.length = length_;
    row.parameters = job_->parameters;
    row.label = -1;
    row.mean = job_->mean;
    row.scale = job_->gradient_scale;
    row.wants_predicted = job_->predicted_classes != nullptr;
    row.workspace = Tile(kWorkspaceTile);
    row.stride = tile_;
    ignored_ = false;
    LoadOperands(index, &row);
    LoadGradOutput(index, &row);
    RunRow(index, &row);
  }

  LOSSD_CALL void LoadGradOutput(int64_t index, Row<V>* row) {
    if (!IsPresent(job_->grad_output)) return;
    if (job_->loss_per_element) {
      // Each thread reads the elements that it has gathered.
      row->scales = Gather(job_->grad_output, First(index), length_, 1, false,
                           Tile(kOperandCount));
    } else {
      row->scale *= ElementAt<double>(job_->grad_output, index);
    }
  }

  LOSSD_CALL void RunRow(int64_t index, Row<V>* row) {
    const int64_t first = First(index);
    int tile = kOperandCount + 1;
    OutputRow<V> p = OutputOf(job_->probabilities, first, tile++);
    OutputRow<V> log_p = OutputOf(job_->log_probabilities, first, tile++);
    const OutputDescriptor none;
    OutputRow<V> losses =
        OutputOf(job_->loss_per_element ? job_->losses : none, first, tile++);
    OutputRow<V> gradients[kOperandCount];
    for (int slot = 0; slot < kOperandCount; ++slot) {
      gradients[slot] = OutputOf(job_->gradients[slot], first, tile + slot);
      row->gradient[slot] = gradients[slot].tile;
    }
    row->probability = p.tile;
    row->log_probability = log_p.tile;
    row->loss = losses.tile;
    RowResult result;
    if (ignored_) {
      Ignore(row, &result);
    } else {
      M::Evaluate(*row, &result);
      if (result.broken) Look(0, row->operand[0], 0, length_);
    }
    p.Flush(length_, &noticed_, false);
    log_p.Flush(length_, &noticed_, false);
    losses.Flush(length_, &noticed_, false);
    for (int slot = 0; slot < kOperandCount; ++slot) {
      if (slot == 0 && result.broken_gradient) Canonicalize(*row);
      gradients[slot].Flush(length_, &noticed_, true);
    }
    Record(index, result);
  }

  // One NaN for all in slot 0's gradient.
  LOSSD_CALL void Canonicalize(const Row<V>& row) const {
    for (int64_t i = FirstOf<V>(); i < length_; i += StrideOf<V>()) {
      row.gradient[0][i] = CanonicalLane(row.gradient[0][i]);
    }
  }

  // An ignored row gives exact zeros; its activations are still its own.
  LOSSD_CALL void Ignore(Row<V>* row, RowResult* result) {
    for (int slot = 0; slot < kOperandCount; ++slot) {
      if (row->gradient[slot]) FillZero<V>(row->gradient[slot], length_);
    }
    if (!row->probability && !row->log_probability && !row->wants_predicted) {
      return;
    }
    Row<V> activations = *row;
    activations.label = 0;
    for (Lane*& gradient : activations.gradient) gradient = nullptr;
    if (length_ > 0) M::Evaluate(activations, result);
    result->loss = result->total = 0;
    result->underflow = 0;
    result->broken = result->broken_gradient = false;
  }

  LOSSD_CALL void Record(int64_t index, RowResult result) {
    if (!Leads<V>()) return;
    if (!M::kHasTotal) result.total = result.loss;
    noticed_.underflow += static_cast<uint64_t>(result.underflow);
    if (job_->predicted_classes) {
      job_->predicted_classes[index] = result.predicted;
    }
    if (job_->losses.data && !job_->loss_per_element) {
      noticed_.Output(
          PutElement(job_->losses, index, CanonicalLane(result.loss)));
    }
    PutSums(*job_, index, result.loss, result.total);
    if (!job_->unit_sums) return;
    for (int i = 0; i < job_->metrics; ++i) {
      job_->unit_sums[(2 + i) * job_->units + index] = result.sums[i];
    }
  }

  Lane* const scratch_;
  const JobDescriptor* job_ = nullptr;
  int64_t length_ = 0;
  int64_t tile_ = 0;
  bool ignored_ = false;
  const Lane* shared_[kOperandCount] = {};
  Noticed noticed_;
};
