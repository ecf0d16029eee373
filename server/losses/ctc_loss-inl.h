// SPDX-License-Identifier: Apache-2.0
//
// -log of the probability of the labels l of a sequence, summed over all
// alignments: with l' the labels with blanks around and between them, and y_t
// the row of log-probabilities of step t,
//
//   alpha_t(s) = y_t(l'_s) + log(exp(alpha_{t-1}(s)) + exp(alpha_{t-1}(s - 1))
//                + exp(alpha_{t-1}(s - 2)) where l'_s is a label other than
//                l'_{s-2})
//
// and beta likewise from the end. The occupancy of class c in step t is the sum
// over l'_s = c of exp(alpha_t(s) + beta_t(s) - y_t(c) + loss); the gradient is
// exp(y_t(c)) less the occupancy (LOGITS, PyTorch's), or less the occupancy
// alone (LOG_PROBS). A class of log-probability -infinity is occupied by
// nothing. Computed in double, in logarithms, for every dtype. Where no
// alignment exists the loss is infinite and the gradient NaN, or both are 0
// with zero_infinity. Source: ATen/native/LossCTC.cpp of PyTorch 2.15.0; Graves
// et al., Connectionist Temporal Classification, ICML 2006.

namespace ctc_loss {

enum Slot { kLogProbs, kTargets, kInputLengths, kTargetLengths };
enum Parameter { kBlank, kZeroInfinity, kGradientConvention };
enum GradientConvention { kLogits = 1, kLogProbabilities = 2 };

template <class V>
struct Math : SequenceLoss {
  using Lane = typename V::Lane;

  // `first` is where the labels of the sequence begin in targets that lie one
  // after the other, or -1 if that is not known, and then of the next.
  template <class Tensors, class Labels>
  static LOSSD_CALL Sequence Bind(const Tensors& arguments, int64_t index,
                                  int64_t* first, Labels* labels) {
    const auto& targets = arguments.tensor(kTargets);
    const auto& lengths = arguments.tensor(kTargetLengths);
    Sequence sequence;
    sequence.steps = arguments.tensor(kInputLengths).IndexAt(index);
    sequence.label_count = lengths.IndexAt(index);
    if (targets.shape.size() == 2) {
      *first = index * targets.shape[1];
    } else if (*first < 0) {
      *first = 0;
      for (int64_t i = 0; i < index; ++i) *first += lengths.IndexAt(i);
    }
    labels->clear();
    for (int64_t i = 0; i < sequence.label_count; ++i) {
      labels->push_back(targets.IndexAt(*first + i));
    }
    *first += sequence.label_count;
    sequence.labels = labels->data();
    const int64_t count = sequence.label_count > 0 ? sequence.label_count : 1;
    sequence.share = 1.0 / static_cast<double>(count);
    return sequence;
  }

  // States of -infinity before and after a row of them: a step looks two states
  // back, and a whole vector ahead.
  static constexpr int64_t kPadding = V::kLanes < 2 ? 2 : V::kLanes;

  static LOSSD_FN int64_t Width(const Sequence& sequence) {
    const int64_t states = 2 * sequence.label_count + 1;
    return (states + kPadding) / kPadding * kPadding + 2 * kPadding;
  }
  // Rows: alpha of each step (of two without gradient), beta of two, emissions,
  // skips, occupied classes.
  static LOSSD_FN int64_t WorkspaceLanes(const Sequence& sequence) {
    const int64_t alphas = sequence.wants_gradient ? sequence.steps + 1 : 2;
    return (alphas + 5) * Width(sequence) + sequence.classes + kPadding;
  }

  template <class Steps>
  static LOSSD_CALL double Evaluate(const Sequence& sequence, Lane* workspace,
                                    Steps* steps) {
    Lattice lattice(sequence, workspace);
    const double loss = Forward(lattice, steps);
    const bool drop =
        loss == __builtin_inf() && sequence.parameters[kZeroInfinity] != 0.0;
    if (sequence.wants_gradient) Backward(lattice, loss, drop, steps);
    return drop ? 0.0 : loss;
  }

 private:
  // The states of one sequence and the workspace of its rows.
  struct Lattice {
    const Sequence& sequence;
    const int64_t states;
    const int64_t width;
    Lane* const alphas;
    Lane* betas;
    Lane* emission;
    Lane* skip;  // 1 where a state can be reached from the one before the last
    Lane* occupied;

    LOSSD_CALL Lattice(const Sequence& s, Lane* workspace)
        : sequence(s),
          states(2 * s.label_count + 1),
          width(Width(s)),
          alphas(workspace) {
      const int64_t rows = s.wants_gradient ? s.steps + 1 : 2;
      betas = workspace + rows * width;
      emission = betas + 2 * width;
      skip = emission + width;
      occupied = skip + 2 * width;
      for (int64_t i = FirstOf<V>(); i < 2 * width; i += StrideOf<V>()) {
        skip[i] = i % 2 == 1 && i > 1 && i < states &&
                          s.labels[i / 2] != s.labels[i / 2 - 1]
                      ? 1
                      : 0;
      }
    }

    // The states of a row begin after its padding.
    LOSSD_FN Lane* Alpha(int64_t step) const {
      const int64_t row = sequence.wants_gradient ? step : step % 2;
      return alphas + row * width + kPadding;
    }
    LOSSD_FN Lane* Beta(int64_t step) const {
      return betas + step % 2 * width + kPadding;
    }
    LOSSD_CALL void Clear(Lane* row) const {
      for (int64_t i = FirstOf<V>(); i < width; i += StrideOf<V>()) {
        row[i - kPadding] = kBottom;
      }
    }
    // For all to see, and with it whatever was written before.
    LOSSD_CALL void Emit(const Lane* y) const {
      const Lane blank = y[static_cast<int64_t>(sequence.parameters[kBlank])];
      for (int64_t k = FirstOf<V>(); k < sequence.label_count;
           k += StrideOf<V>()) {
        emission[2 * k] = blank;
        emission[2 * k + 1] = y[sequence.labels[k]];
      }
      if (Leads<V>()) emission[states - 1] = blank;
      Sync<V>();
    }
  };

  static constexpr Lane kBottom = -__builtin_inf();

  // log(exp(a) + exp(b) + exp(c)).
  static LOSSD_FN V LogSumExp(V a, V b, V c) {
    const V bottom = V::Set(kBottom);
    const V top = Max(a, Max(b, c));
    const V max = Select(top == bottom, V::Set(0.0), top);
    return Log(Exp(a - max) + Exp(b - max) + Exp(c - max)) + max;
  }

  // One step of the recursion over rows `from` and `to`: -1 for alpha, 1 for
  // beta.
  static LOSSD_CALL void Advance(const Lattice& lattice, int64_t direction,
                                 const Lane* from, Lane* to) {
    const V bottom = V::Set(kBottom);
    lattice.Clear(to);
    for (int64_t i = 0; i < lattice.states; i += V::kLanes) {
      const int64_t n = lattice.states - i;
      const Lane* skip = lattice.skip + i + (direction > 0 ? 2 : 0);
      const auto skips = V::Load(skip) > V::Set(0.0);
      const V far = V::Load(from + i + 2 * direction);
      const V total =
          LogSumExp(V::Load(from + i), V::Load(from + i + direction),
                    Select(skips, far, bottom));
      StoreUpTo(total + LoadUpTo<V>(lattice.emission + i, n), to + i, n);
    }
  }

  template <class Steps>
  static LOSSD_CALL double Forward(const Lattice& lattice, Steps* steps) {
    const Sequence& sequence = lattice.sequence;
    if (sequence.steps == 0) {
      return sequence.label_count == 0 ? 0.0 : __builtin_inf();
    }
    for (int64_t t = 0; t < sequence.steps; ++t) {
      lattice.Emit(steps->Load(t));
      Lane* alpha = lattice.Alpha(t);
      if (t > 0) {
        Advance(lattice, -1, lattice.Alpha(t - 1), alpha);
        continue;
      }
      lattice.Clear(alpha);
      if (Owns<V>(0)) alpha[0] = lattice.emission[0];
      if (Owns<V>(1) && lattice.states > 1) alpha[1] = lattice.emission[1];
    }
    Sync<V>();
    const Lane* last = lattice.Alpha(sequence.steps - 1);
    const double end = static_cast<double>(last[lattice.states - 1]);
    if (lattice.states == 1) return -end;
    return -LogSum(end, static_cast<double>(last[lattice.states - 2]));
  }

  static LOSSD_CALL double LogSum(double a, double b) {
    const double high = a > b ? a : b;
    const double low = a > b ? b : a;
    if (high == -__builtin_inf()) return high;
    return high + ScalarLog1p(ScalarExp(low - high));
  }

  template <class Steps>
  static LOSSD_CALL void Backward(const Lattice& lattice, double loss,
                                  bool drop, Steps* steps) {
    const Sequence& sequence = lattice.sequence;
    for (int64_t t = sequence.steps; t-- > 0;) {
      const Lane* y = steps->Load(t);
      Lane* gradient = steps->Gradient();
      if (drop) {
        FillZero<V>(gradient, sequence.classes);
        steps->PutGradient(t, gradient);
        continue;
      }
      lattice.Emit(y);
      Lane* beta = lattice.Beta(t);
      if (t + 1 < sequence.steps) {
        Advance(lattice, 1, lattice.Beta(t + 1), beta);
      } else {
        lattice.Clear(beta);
        for (int64_t s = lattice.states - 1; s >= 0 && s >= lattice.states - 2;
             --s) {
          if (Owns<V>(s)) beta[s] = lattice.emission[s];
        }
      }
      Occupy(lattice, lattice.Alpha(t), beta, loss);
      PutStep(lattice, y, loss, gradient);
      steps->PutGradient(t, gradient);
    }
  }

  // The occupancy of each class; `beta` stays what it is.
  static LOSSD_CALL void Occupy(const Lattice& lattice, Lane* alpha,
                                const Lane* beta, double loss) {
    const Sequence& sequence = lattice.sequence;
    const V bottom = V::Set(kBottom);
    for (int64_t i = 0; i < lattice.states; i += V::kLanes) {
      const int64_t n = lattice.states - i;
      const V y = LoadUpTo<V>(lattice.emission + i, n);
      const V path =
          ((V::Load(alpha + i) + V::Load(beta + i)) - y) + V::Set(loss);
      const V share = Select(y == bottom, V::Set(0.0), Exp(path));
      StoreUpTo(share, alpha + i, n);  // which nobody reads any more
    }
    FillZero<V>(lattice.occupied, sequence.classes);
    Sync<V>();  // for the shares
    const auto blank = static_cast<int64_t>(sequence.parameters[kBlank]);
    for (int64_t k = 0; k < sequence.label_count; ++k) {
      const int64_t label = sequence.labels[k];
      if (Owns<V>(blank)) lattice.occupied[blank] += alpha[2 * k];
      if (Owns<V>(label)) lattice.occupied[label] += alpha[2 * k + 1];
    }
    if (Owns<V>(blank)) lattice.occupied[blank] += alpha[lattice.states - 1];
  }

  static LOSSD_CALL void PutStep(const Lattice& lattice, const Lane* y,
                                 double loss, Lane* gradient) {
    const Sequence& sequence = lattice.sequence;
    const bool logits = sequence.parameters[kGradientConvention] != 2.0;
    const V scale =
        V::Set(loss == __builtin_inf() ? __builtin_nan("") : sequence.scale);
    for (int64_t i = 0; i < sequence.classes; i += V::kLanes) {
      const int64_t n = sequence.classes - i;
      const V p = logits ? Exp(LoadUpTo<V>(y + i, n)) : V::Set(0.0);
      const V value = (p - LoadUpTo<V>(lattice.occupied + i, n)) * scale;
      StoreUpTo(Canonical(value), gradient + i, n);
    }
  }
};

}  // namespace ctc_loss
