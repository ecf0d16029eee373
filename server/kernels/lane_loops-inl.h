// SPDX-License-Identifier: Apache-2.0
//
// What the mathematics of the losses is written in, beside math-inl.h: how a
// loss sees its operands and leaves its results, and loops over lanes.

LOSSD_FN double ScalarExp(double x) { return Exp(Single{x}).v; }
LOSSD_FN double ScalarLog(double x) { return Log(Single{x}).v; }
LOSSD_FN double ScalarLog1p(double x) { return Log1p(Single{x}).v; }
LOSSD_FN double ScalarSqrt(double x) { return __builtin_sqrt(x); }

// Where each of a group of threads holds one lane (CUDA), the group is the
// arithmetic type: V::Group, with kThreads, Rank() and Sync(). The threads of a
// group compute scalars alike. Element i of any array belongs to the thread of
// rank i modulo kThreads, which loops over lanes give it: it alone writes
// there, and another may read it after Sync. Anywhere else one thread is all.
template <class V>
inline constexpr bool kIsGroup = requires {
  typename V::Group;
};

// A scalar loop that a group shares: for (i = First; i < n; i += Stride).
template <class V>
LOSSD_FN int64_t FirstOf() {
  if constexpr (kIsGroup<V>) return V::Group::Rank();
  return 0;
}
template <class V>
LOSSD_FN int64_t StrideOf() {
  if constexpr (kIsGroup<V>) return V::Group::kThreads;
  return 1;
}
template <class V>
LOSSD_FN bool Owns(int64_t i) {
  return i % StrideOf<V>() == FirstOf<V>();
}
template <class V>
LOSSD_FN bool Leads() {
  return FirstOf<V>() == 0;
}
// What any thread wrote before, every thread sees after. The arguments name the
// place.
template <class V>
LOSSD_FN void Sync(const char* file = __builtin_FILE(),
                   int line = __builtin_LINE()) {
  if constexpr (kIsGroup<V>) V::Group::Sync(file, line);
}

// The next vector of a range of which n > 0 elements are left. Past the end the
// first element is repeated: it raises no flag that it does not raise itself.
template <class V>
LOSSD_FN V LoadUpTo(const typename V::Lane* p, int64_t n) {
  return n >= V::kLanes ? V::Load(p) : V::LoadFirst(p, n);
}
template <class V>
LOSSD_FN void StoreUpTo(const V& v, typename V::Lane* p, int64_t n) {
  if (n >= V::kLanes) {
    v.Store(p);
  } else {
    v.StoreFirst(p, n);
  }
}
template <class V>
LOSSD_FN typename V::Mask LiveLanes(int64_t n) {
  return V::FirstN(n < V::kLanes ? n : V::kLanes);
}

// The lane k, where there is one.
template <class V>
LOSSD_FN typename V::Mask LaneAt(int64_t k) {
  if (k < 0 || k >= V::kLanes) return Not(V::FirstN(V::kLanes));
  return LaneIndexAtLeast<V>(k) & Not(LaneIndexAtLeast<V>(k + 1));
}
// A hint that the V from p on will be loaded.
template <class V>
LOSSD_FN void Prefetch(const typename V::Lane* p) {
  if constexpr (!kIsGroup<V>) {
    constexpr int64_t kLine = 64 / sizeof(typename V::Lane);
    for (int64_t k = 0; k < V::kLanes; k += kLine) __builtin_prefetch(p + k);
  }
}

// One NaN for all: its sign and payload otherwise depend on the instruction
// set.
template <class V>
LOSSD_FN V Canonical(const V& v) {
  return Select(v == v, v, V::Set(__builtin_nan("")));
}
template <class Lane>
LOSSD_FN Lane CanonicalLane(Lane x) {
  return x == x ? x : static_cast<Lane>(__builtin_nan(""));
}

template <class V>
LOSSD_FN void FillZero(typename V::Lane* p, int64_t n) {
  if constexpr (kIsGroup<V>) {
    for (int64_t i = FirstOf<V>(); i < n; i += StrideOf<V>()) p[i] = 0;
  } else {
    std::memset(p, 0, static_cast<size_t>(n) * sizeof(typename V::Lane));
  }
}
template <class V>
LOSSD_FN void Copy(const typename V::Lane* from, typename V::Lane* to,
                   int64_t n) {
  if constexpr (kIsGroup<V>) {
    for (int64_t i = FirstOf<V>(); i < n; i += StrideOf<V>()) to[i] = from[i];
  } else {
    std::memcpy(to, from, static_cast<size_t>(n) * sizeof(typename V::Lane));
  }
}

// The sums of x * x, y * y and x * y over two rows.
template <class V>
struct DotProducts {
  using Lane = typename V::Lane;
  double xx, yy, xy;

  LOSSD_CALL DotProducts(const Lane* x, const Lane* y, int64_t length) {
    V sum_xx = V::Set(0.0);
    V sum_yy = V::Set(0.0);
    V sum_xy = V::Set(0.0);
    for (int64_t i = 0; i < length; i += V::kLanes) {
      V a = LoadUpTo<V>(x + i, length - i);
      V b = LoadUpTo<V>(y + i, length - i);
      if (length - i < V::kLanes) {
        a = Select(V::FirstN(length - i), a, V::Set(0.0));
        b = Select(V::FirstN(length - i), b, V::Set(0.0));
      }
      sum_xx = sum_xx + a * a;
      sum_yy = sum_yy + b * b;
      sum_xy = sum_xy + a * b;
    }
    xx = SumOfLanes(Widen(sum_xx));
    yy = SumOfLanes(Widen(sum_yy));
    xy = SumOfLanes(Widen(sum_xy));
  }
};

// The index of the first maximum; of the first NaN, if there is one.
template <class V>
LOSSD_CALL int64_t FirstMaximum(const typename V::Lane* x, int64_t n) {
  int64_t best = FirstOf<V>();
  bool nan = false;
  for (int64_t i = best; i < n && !nan; i += StrideOf<V>()) {
    nan = x[i] != x[i];
    if (nan || x[i] > x[best]) best = i;
  }
  if constexpr (kIsGroup<V>) {
    const bool has = best < n;
    using Lane = typename V::Lane;
    return V::Group::FirstMaximum(has ? x[best] : Lane{0}, has ? best : n, n);
  }
  return best;
}

// A loss that looks at one element of each tensor at a time. Math<V> has
// kTensors, kHasProbabilities and Evaluate(operands by slot, parameters, out);
// an absent weight is 1. kFloatLanes: it can be computed in lanes of float.
// kOptional: how many tensors, from the last, may be absent.
struct ElementwiseLoss {
  static constexpr int kOptional = 0;
  static constexpr bool kRows = false;
  static constexpr bool kSequences = false;
  static constexpr bool kFloatLanes = false;
};

template <class V>
struct Element {
  V loss;
  V gradient[kMaxTensors];  // of the loss, by slot
  V probability;
  V log_probability;
  typename V::Mask predicted;  // class 1
};

// A loss that looks at a row of each tensor at a time. Math<V> has kOperands by
// slot and Evaluate(row, result). Where kHasTotal is false the row's part of
// the sum is its part of the mean's numerator.
struct RowLoss {
  static constexpr bool kRows = true;
  static constexpr bool kSequences = false;
  static constexpr bool kFloatLanes = false;
  static constexpr bool kHasTotal = false;
  // The loss and its gradient are those of the label's element alone, which
  // Math<V>::EvaluateLabel(x, w, scale, gradient) gives.
  static constexpr bool kUsesLabelOnly = false;
  // The first parameter is the class index of rows to ignore.
  static constexpr bool kHasIgnoreIndex = false;
  // Evaluate notices NaN and infinity in slot 0 itself: RowResult::broken.
  static constexpr bool kInspectsInput = false;
  // Evaluate heeds Row::streams.
  static constexpr bool kStreams = false;
  // Rows of scratch that Evaluate wants.
  static constexpr int kWorkspaceRows = 0;
};

enum class Operand {
  kRow,          // a row
  kRowOrScalar,  // a row, or one value for it
  kScalar,       // one value for the row
  kClass,        // a class index
  kRowOrClass,   // a row, or a class index
  kClasses,      // a row of class indices, up to the first -1
  kShared,       // a vector that all rows share
};

template <class V>
struct Row {
  using Lane = typename V::Lane;
  int64_t length;
  const double* parameters;
  int64_t label;                     // the class index, where there is one
  const Lane* operand[kMaxTensors];  // null where absent
  const int64_t* classes;            // of kClasses
  int64_t class_count;
  double scalar[kMaxTensors];   // of kScalar, and of kRowOrScalar without row
  bool mean;                    // the mean, or what replaces it, is in force
  double scale;                 // multiplies the gradient
  const Lane* scales;           // multiply besides, element by element; or null
  Lane* gradient[kMaxTensors];  // where gradients go; null where not wanted
  Lane* loss;                   // where the elements' losses go; or null
  Lane* probability;
  Lane* log_probability;
  bool wants_predicted;
  bool streams;     // slot 0's gradient is to go past the caches
  Lane* workspace;  // kWorkspaceRows rows, `stride` apart, not initialised
  int64_t stride;
};

// A loss that looks at a sequence of rows of slot 0 at a time. Math<V> has
// Bind(), which finds a sequence, WorkspaceLanes(), and Evaluate(sequence,
// workspace, steps) that gives its loss, where `steps` loads rows and takes
// gradients.
struct SequenceLoss {
  static constexpr bool kRows = false;
  static constexpr bool kSequences = true;
  static constexpr bool kFloatLanes = false;
};

struct Sequence {
  int64_t steps = 0;  // at most those of slot 0
  int64_t classes = 0;
  const int64_t* labels = nullptr;
  int64_t label_count = 0;
  const double* parameters = nullptr;
  double share = 1;  // of the loss in the mean's numerator
  double scale = 1;  // multiplies the gradient
  bool wants_gradient = false;
};

struct RowResult {
  double loss = 0;             // the row's part of the mean's numerator
  double total = 0;            // the row's part of the sum, with kHasTotal
  double sums[kMaxSums] = {};  // metrics
  int64_t predicted = 0;
  int64_t underflow = 0;
  // Slot 0 may hold NaN or infinity, with kInspectsInput.
  bool broken = false;
  // Whether slot 0's gradient was looked at as it was written, and may hold
  // NaN, of any kind, or infinity.
  bool inspected = false;
  bool broken_gradient = false;
};
