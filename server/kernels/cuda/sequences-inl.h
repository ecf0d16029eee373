// SPDX-License-Identifier: Apache-2.0
//
// How losses over sequences run: a block of threads takes a sequence at a time,
// whose steps are rows of slot 0, [T, N, C].

// The tensors of a job, as the mathematics binds a sequence to them.
class SequenceTensors {
 public:
  struct Shape {
    const TensorDescriptor& of;
    LOSSD_FN int64_t size() const { return of.dimensions; }
    // Of the last dimension.
    LOSSD_FN int64_t operator[](int) const { return of.last_size; }
  };
  struct Tensor {
    const TensorDescriptor& of;
    Shape shape;
    LOSSD_FN int64_t IndexAt(int64_t i) const { return cuda::IndexAt(of, i); }
  };
  LOSSD_FN explicit SequenceTensors(const JobDescriptor& job) : job_(job) {}
  LOSSD_FN Tensor tensor(int slot) const {
    return {job_.tensors[slot], {job_.tensors[slot]}};
  }

 private:
  const JobDescriptor& job_;
};

// The labels of a sequence, which all threads of a group append together.
template <class V>
class SequenceLabels {
 public:
  LOSSD_FN explicit SequenceLabels(int64_t* labels) : labels_(labels) {}
  LOSSD_FN void clear() { count_ = 0; }
  LOSSD_FN void push_back(int64_t label) {
    if (Owns<V>(count_)) labels_[count_] = label;
    ++count_;
  }
  LOSSD_FN const int64_t* data() const { return labels_; }

 private:
  int64_t* const labels_;
  int64_t count_ = 0;
};

template <class M, class V>
class SequenceGroup {
 public:
  using Lane = typename V::Lane;
  using G = typename V::Group;

  static LOSSD_CALL void Run(const Batch& batch, int64_t block_threads) {
    Units<G> units(batch, block_threads);
    const JobDescriptor* job;
    int64_t index;
    while (units.Next(&job, &index)) {
      G::Sync(__FILE__, __LINE__);  // the scratch is read no more
      SequenceGroup group(*job, units.Scratch(), index);
      group.RunSequence();
      group.noticed_.Report(job->findings);
    }
  }

  // What the mathematics asks for: the row of a step, for all threads and until
  // the next call, when they have done with what came before; and where the
  // gradient of a step goes, which PutGradient then takes.
  LOSSD_CALL const Lane* Load(int64_t step) {
    const TensorDescriptor& input = job_.tensors[0];
    Lane* row = Tile(0);
    for (int64_t i = FirstOf<V>(); i < job_.row_length; i += StrideOf<V>()) {
      row[i] = ElementAt<Lane>(input, First(step) + i);
      noticed_.Input(input, 0, row[i]);
    }
    G::Sync(__FILE__, __LINE__);
    return row;
  }
  LOSSD_FN Lane* Gradient() { return Tile(1); }
  LOSSD_CALL void PutGradient(int64_t step, const Lane* row) {
    for (int64_t i = FirstOf<V>(); i < job_.row_length; i += StrideOf<V>()) {
      const double stored =
          PutElement(job_.gradients[0], First(step) + i, row[i]);
      noticed_.Output(stored);
      noticed_.underflow += stored == 0 && row[i] != 0;
    }
  }

 private:
  // Scratch: two rows, and the labels and the workspace of a sequence.
  LOSSD_FN SequenceGroup(const JobDescriptor& job, uint8_t* scratch,
                         int64_t index)
      : job_(job),
        rows_(reinterpret_cast<Lane*>(scratch)),
        tile_((job.row_length + V::kLanes) / V::kLanes * V::kLanes),
        index_(index) {}

  LOSSD_FN Lane* Tile(int i) { return rows_ + i * tile_; }
  LOSSD_FN int64_t First(int64_t step) const {
    return (step * job_.rows + index_) * job_.row_length;
  }

  LOSSD_CALL void RunSequence() {
    const SequenceTensors tensors(job_);
    auto* label_memory = reinterpret_cast<int64_t*>(Tile(2));
    SequenceLabels<V> labels(label_memory);
    int64_t first = -1;
    Sequence sequence = M::Bind(tensors, index_, &first, &labels);
    G::Sync(__FILE__, __LINE__);  // for the labels
    sequence.parameters = job_.parameters;
    sequence.classes = job_.row_length;
    sequence.wants_gradient = job_.gradients[0].data != nullptr;
    sequence.scale = job_.gradient_scale;
    if (job_.mean) sequence.scale *= sequence.share;
    if (IsPresent(job_.grad_output)) {
      sequence.scale *= ElementAt<double>(job_.grad_output, index_);
    }
    auto* workspace =
        reinterpret_cast<Lane*>(label_memory + sequence.label_count);
    const double loss = CanonicalLane(M::Evaluate(sequence, workspace, this));
    if (sequence.wants_gradient) {
      Lane* zero = Gradient();
      FillZero<V>(zero, job_.row_length);
      for (int64_t step = sequence.steps; step < job_.steps; ++step) {
        PutGradient(step, zero);
      }
    }
    if (Leads<V>()) Record(loss, loss * sequence.share);
  }

  LOSSD_FN void Record(double loss, double numerator) {
    if (job_.losses.data) {
      noticed_.Output(PutElement(job_.losses, index_, loss));
    }
    PutSums(job_, index_, numerator, loss);
  }

  const JobDescriptor& job_;
  Lane* const rows_;
  const int64_t tile_;
  const int64_t index_;
  Noticed noticed_;
};
