// SPDX-License-Identifier: Apache-2.0
//
// How losses over sequences run: a sequence at a time, whose steps are rows of
// slot 0, [T, N, C].

template <class M, class V>
class SequenceKernel {
 public:
  using Lane = typename V::Lane;

  static Findings Run(const Job& job, int64_t begin, int64_t end) {
    SequenceKernel kernel(job);
    for (int64_t i = begin; i < end; ++i) kernel.RunSequence(i);
    return kernel.findings_;
  }

  // What the mathematics asks for: the row of a step, until the next call, and
  // where the gradient of a step goes, which PutGradient then takes.
  const Lane* Load(int64_t step) {
    const Lane* row =
        LoadTile<V>(input_, First(step), geometry_.row_length, Tile(0));
    Inspect<V>(job_, 0, row, geometry_.row_length, &findings_);
    return row;
  }
  Lane* Gradient() { return Tile(1); }
  void PutGradient(int64_t step, const Lane* row) {
    bool* infinity = &findings_.result_infinity;
    FlagTile<V>(row, geometry_.row_length, &findings_.result_nan, infinity);
    findings_.underflow += NarrowTile<V>(
        row, geometry_.row_length, job_.gradients[0], First(step), 1, infinity);
  }

 private:
  explicit SequenceKernel(const Job& job)
      : job_(job),
        geometry_(*job.geometry),
        input_(job.arguments->tensor(0)),
        tile_((geometry_.row_length + V::kLanes) / V::kLanes * V::kLanes),
        rows_(job.Scratch(2 * tile_ * static_cast<int64_t>(sizeof(Lane)))) {}

  Lane* Tile(int i) {
    return reinterpret_cast<Lane*>(rows_.data()) + i * tile_;
  }

  int64_t First(int64_t step) const {
    return (step * geometry_.rows + index_) * geometry_.row_length;
  }

  void RunSequence(int64_t index) {
    index_ = index;
    Sequence sequence =
        M::Bind(*job_.arguments, index, &first_label_, &labels_);
    sequence.parameters = geometry_.parameters.data();
    sequence.classes = geometry_.row_length;
    sequence.wants_gradient = job_.gradients[0].data != nullptr;
    sequence.scale = job_.gradient_scale;
    if (job_.mean) sequence.scale *= sequence.share;
    if (job_.grad_output.present()) {
      sequence.scale *= job_.grad_output.ValueAt(index);
    }
    const int64_t bytes =
        M::WorkspaceLanes(sequence) * static_cast<int64_t>(sizeof(Lane));
    if (workspace_.size() < bytes) workspace_ = job_.Scratch(bytes);
    const double loss = CanonicalLane(M::Evaluate(
        sequence, reinterpret_cast<Lane*>(workspace_.data()), this));
    if (sequence.wants_gradient) {
      Lane* zero = Gradient();
      FillZero<V>(zero, geometry_.row_length);
      for (int64_t step = sequence.steps; step < geometry_.steps; ++step) {
        PutGradient(step, zero);
      }
    }
    Record(loss, loss * sequence.share);
  }

  void Record(double loss, double numerator) {
    if (job_.elementwise_losses.data) {
      NarrowTile<Single>(&loss, 1, job_.elementwise_losses, index_, 1,
                         &findings_.result_infinity);
      findings_.result_nan |= loss != loss;
      findings_.result_infinity |= std::isinf(loss);
    }
    if (!job_.unit_sums) return;
    job_.unit_sums[kNumeratorSum * job_.units + index_] = numerator;
    job_.unit_sums[kTotalSum * job_.units + index_] = loss;
  }

  const Job& job_;
  const Geometry& geometry_;
  const TensorView& input_;
  const int64_t tile_;
  AlignedBuffer rows_;
  AlignedBuffer workspace_;
  std::vector<int64_t> labels_;
  int64_t first_label_ = -1;  // of the next sequence, once it is known
  int64_t index_ = 0;
  Findings findings_;
};
