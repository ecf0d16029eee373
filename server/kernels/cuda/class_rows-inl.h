// SPDX-License-Identifier: Apache-2.0
//
// The negative log-likelihood of one class under softmax of a row, and its
// gradient with respect to the row, with the row in registers: each element is
// read once, 16 bytes at a time, and each gradient written once.
//
// A team takes a row: a warp, a block, or the blocks of a cluster. Each thread
// holds kClassElements elements of it. The team finds the row's range, then the
// sum of exp(x - max) over the elements below the maximum, which stay in
// registers to be scaled. The mathematics is that of cross_entropy-inl.h; where
// the range allows, steps that cannot matter are left out.

// exp(s) for -86 < s <= 0: no result is subnormal, so that the scale by a power
// of 2 is an addition to the exponent.
LOSSD_FN float ExpNear(float s) {
  using V = GroupLanes<float, OneThread>;
  using K = Constants<float>;
  const V magic = V::Set(K::kRound);
  const V shifted = V{s} * V::Set(0x1.71547652b82fep0) + magic;
  const V k = shifted - magic;
  V r = Fma(k, V::Set(-K::kLn2High), V{s});
  r = Fma(k, V::Set(-K::kLn2Low), r);
  return std::bit_cast<float>(std::bit_cast<uint32_t>(ExpReduced(r).v) +
                              (std::bit_cast<uint32_t>(shifted.v) << 23));
}

// Rounds finite values to the elements of a packet.
template <class T, int kCount>
LOSSD_FN void RoundPacket(const float (&from)[kCount], Packet<T>* to) {
  if constexpr (sizeof(T) == 4) {
    LOSSD_UNROLL
    for (int k = 0; k < kCount; ++k) to->Put(k, from[k]);
  } else {
    LOSSD_UNROLL
    for (int k = 0; k < kCount; k += 2) {
      T low, high;
      RoundPair(from[k], from[k + 1], &low, &high);
      to->Put(k, low);
      to->Put(k + 1, high);
    }
  }
}

// A row of elements of type T, for kWarps warps of a block. A single warp is
// one of several in its block, and no part of a cluster.
template <class T, int kWarps>
class ClassRows {
 public:
  using V = GroupLanes<float, OneThread>;
  using Softmax = cross_entropy::Softmax;
  using Rounding = cross_entropy::Rounding;
  static constexpr int kCount = Packet<T>::kCount;
  static constexpr int kPackets = kClassElements / kCount;

  static LOSSD_CALL void Run(const Batch& batch, int64_t block_threads) {
    const int64_t teams_each = kWarps == 1 ? block_threads / kWarpThreads : 1;
    const int cluster = kWarps == 1 ? 1 : ClusterSize();
    const int64_t team =
        kWarps == 1 ? BlockIndex() * teams_each + ThreadIndex() / kWarpThreads
                    : BlockIndex() / cluster;
    Units<WarpThreads> units(batch, BlockCount() / cluster * teams_each, team);
    ClassRows rows(cluster);
    const JobDescriptor* job;
    int64_t row;
    while (units.Next(&job, &row)) {
      rows.RunRow(*job, row);
      rows.noticed_.Report(job->findings);
    }
    // A block stays while others may read what it shares.
    if (cluster > 1) SyncCluster(__FILE__, __LINE__);
  }

 private:
  LOSSD_FN explicit ClassRows(int cluster)
      : cluster_(cluster),
        rank_(kWarps == 1
                  ? ThreadIndex() % kWarpThreads
                  : ClusterRank() * kWarps * kWarpThreads + ThreadIndex()),
        threads_(cluster * kWarps * kWarpThreads) {}

  // The packet that this thread holds as its p-th.
  LOSSD_FN int PacketOf(int p) const { return p * threads_ + rank_; }

  LOSSD_FN void SyncTeam(const char* file, int line) const {
    if (cluster_ > 1) {
      SyncCluster(file, line);
    } else {
      SyncBlock(file, line);
    }
  }

  // Folds a value of each warp into one that all threads of the team get.
  // `shared` is the block's, for its warps.
  template <class Value, class F>
  LOSSD_FN Value FoldTeam(const Value* shared, Value none, F fold) const {
    const int lane = static_cast<int>(WarpThreads::Rank());
    Value value = none;
    for (int i = lane; i < cluster_ * kWarps; i += kWarpThreads) {
      const Value* of_block =
          cluster_ > 1 ? OfClusterBlock(shared, i / kWarps) : shared;
      value = fold(value, of_block[i % kWarps]);
    }
    for (int mask = 16; mask > 0; mask /= 2) {
      value = fold(value, ShuffleXor(value, mask));
    }
    return value;
  }

  // The least and the greatest element, NaN aside.
  LOSSD_FN cross_entropy::Range RangeOfRow() const {
    float high = -__builtin_inff();
    float low = __builtin_inff();
    LOSSD_UNROLL
    for (int p = 0; p < kPackets; ++p) {
      if (PacketOf(p) >= packets_) break;
      LOSSD_UNROLL
      for (int k = 0; k < kCount; ++k) {
        high = x_[p][k] > high ? x_[p][k] : high;
        low = x_[p][k] < low ? x_[p][k] : low;
      }
    }
    const auto greater = [](float a, float b) { return b > a ? b : a; };
    const auto less = [](float a, float b) { return b < a ? b : a; };
    for (int mask = 16; mask > 0; mask /= 2) {
      high = greater(high, ShuffleXor(high, mask));
      low = less(low, ShuffleXor(low, mask));
    }
    if constexpr (kWarps > 1) {
      LOSSD_SHARED(float, highs, kWarps);
      LOSSD_SHARED(float, lows, kWarps);
      if (WarpThreads::Rank() == 0) {
        highs[ThreadIndex() / kWarpThreads] = high;
        lows[ThreadIndex() / kWarpThreads] = low;
      }
      SyncTeam(__FILE__, __LINE__);
      high = FoldTeam(highs, -__builtin_inff(), greater);
      low = FoldTeam(lows, __builtin_inff(), less);
    }
    return {static_cast<double>(low), static_cast<double>(high)};
  }

  // Puts exp(x - max) in the place of each element, and adds those of elements
  // that are not the maximum to `sum`, and 1 for each that is to `ties`.
  template <class Exp>
  LOSSD_FN void Exponentiate(float max, Exp exp, float* sum, float* ties) {
    LOSSD_UNROLL
    for (int p = 0; p < kPackets; ++p) {
      if (PacketOf(p) >= packets_) break;
      LOSSD_UNROLL
      for (int k = 0; k < kCount; ++k) {
        const float e = exp(x_[p][k]);
        const bool tie = x_[p][k] == max;
        *sum += tie ? 0.0f : e;
        *ties += tie ? 1.0f : 0.0f;
        x_[p][k] = e;
      }
    }
  }

  LOSSD_FN Softmax SoftmaxOfRow(const cross_entropy::Range& range) {
    const bool bottom = range.high == -__builtin_inf();
    const V max = V::Set(bottom ? 0.0 : range.high);
    float sum = 0, ties = 0;
    const Rounding rounding = range.rounding();
    near_ = rounding == Rounding::kFast && range.low - range.high > -86.0;
    if (near_) {
      // As ExpDifference with Rounding::kFast.
      const auto exp = [max](float x) {
        const float s = x - max.v;
        const V e = {ExpNear(s)};
        return Fma(e, V{x - (s + max.v)}, e).v;
      };
      Exponentiate(max.v, exp, &sum, &ties);
    } else {
      const auto exp = [max](float x) {
        return cross_entropy::ExpDifference(V{x}, max).v;
      };
      Exponentiate(max.v, exp, &sum, &ties);
    }
    double total = WarpThreads::Sum(static_cast<double>(sum));
    double tie_count = WarpThreads::Sum(static_cast<double>(ties));
    if constexpr (kWarps > 1) {
      LOSSD_SHARED(double, totals, kWarps);
      LOSSD_SHARED(double, tie_counts, kWarps);
      if (WarpThreads::Rank() == 0) {
        totals[ThreadIndex() / kWarpThreads] = total;
        tie_counts[ThreadIndex() / kWarpThreads] = tie_count;
      }
      SyncTeam(__FILE__, __LINE__);
      const auto add = [](double a, double b) { return a + b; };
      total = FoldTeam(totals, 0.0, add);
      tie_count = FoldTeam(tie_counts, 0.0, add);
    }
    return cross_entropy::Distribution(
        cross_entropy::SoftmaxOf(range, total, tie_count));
  }

  LOSSD_FN void RunRow(const JobDescriptor& job, int64_t row) {
    const int64_t length = job.row_length;
    const T* x = reinterpret_cast<const T*>(job.tensors[0].data) + row * length;
    T* gradient = reinterpret_cast<T*>(job.gradients[0].data);
    if (gradient) gradient += row * length;
    packets_ = static_cast<int>(length / kCount);
    if (row == 0 && IsPresent(job.tensors[2])) LookAtWeight(job);
    const int64_t label = IndexAt(job.tensors[1], row);
    if (static_cast<double>(label) == job.parameters[0]) {
      if (gradient) FillZero(gradient);
      if (rank_ == 0) Record(job, row, 0.0);
      return;
    }
    Load(x);
    const cross_entropy::Range range = RangeOfRow();
    const Softmax softmax = SoftmaxOfRow(range);
    if (softmax.broken) LookAgain(job, x);
    const double y = Widened<double>(x[label]);
    const double w = IsPresent(job.tensors[2])
                         ? ElementAt<double>(job.tensors[2], label)
                         : 1.0;
    if (gradient) {
      double scale = w * job.gradient_scale;
      if (IsPresent(job.grad_output)) {
        scale =
            w * (job.gradient_scale * ElementAt<double>(job.grad_output, row));
      }
      PutGradient(softmax, range, scale, static_cast<int>(label), x, gradient);
      if (static_cast<int>(label) / kCount % threads_ == rank_) {
        PutLabel(softmax, scale, y, gradient + label);
      }
    }
    if (rank_ == 0) {
      Record(job, row, w * (ScalarLog1p(softmax.others) + (softmax.max - y)));
    }
  }

  LOSSD_FN void Load(const T* x) {
    Packet<T> raw[kPackets] = {};
    LOSSD_UNROLL
    for (int p = 0; p < kPackets; ++p) {
      if (PacketOf(p) >= packets_) break;
      raw[p] = LoadOnce(reinterpret_cast<const Packet<T>*>(x) + PacketOf(p));
    }
    LOSSD_UNROLL
    for (int p = 0; p < kPackets; ++p) {
      LOSSD_UNROLL
      for (int k = 0; k < kCount; ++k) {
        x_[p][k] = WidenedFloat(raw[p].Get(k));
      }
    }
  }

  // Notices NaN and infinity of a row that has some.
  LOSSD_FN void LookAgain(const JobDescriptor& job, const T* x) {
    for (int i = rank_; i < packets_ * kCount; i += threads_) {
      noticed_.Input(job.tensors[0], 0, Widened<float>(x[i]));
    }
  }

  // All of it, whichever classes the labels are.
  LOSSD_CALL void LookAtWeight(const JobDescriptor& job) {
    for (int i = rank_; i < packets_ * kCount; i += threads_) {
      noticed_.Input(job.tensors[2], 2, ElementAt<float>(job.tensors[2], i));
    }
  }

  LOSSD_FN void FillZero(T* gradient) const {
    Packet<T> zero = {};
    for (int i = rank_; i < packets_; i += threads_) {
      StoreOnce(reinterpret_cast<Packet<T>*>(gradient) + i, zero);
    }
  }

  // e * factor; what the label's place gets is not looked at.
  LOSSD_FN void PutGradient(const Softmax& softmax,
                            const cross_entropy::Range& range, double scale,
                            int label, const T* x, T* gradient) {
    const double inverse = 1.0 / (1.0 + softmax.others);
    const auto factor = static_cast<float>(scale * inverse);
    // Where no product can be 0, infinite or NaN, none is looked at.
    const float least =
        near_ ? ExpNear(static_cast<float>(range.low - range.high)) *
                    (factor < 0 ? -factor : factor)
              : 0.0f;
    const bool plain = least > LeastNormal(T()) && !softmax.broken &&
                       factor < 6e4f && factor > -6e4f;
    LOSSD_UNROLL
    for (int p = 0; p < kPackets; ++p) {
      const int packet = PacketOf(p);
      if (packet >= packets_) break;
      Packet<T> out;
      LOSSD_UNROLL
      for (int k = 0; k < kCount; ++k) x_[p][k] = x_[p][k] * factor;
      if (plain) {
        RoundPacket(x_[p], &out);
      } else {
        PutChecked(p, x + packet * kCount, label - packet * kCount, scale,
                   &out);
      }
      auto* const to = reinterpret_cast<Packet<T>*>(gradient) + packet;
      StoreOnce(to, out);
    }
  }

  // Element `label` of the packet is not looked at.
  LOSSD_FN void PutChecked(int p, const T* x, int label, double scale,
                           Packet<T>* out) {
    LOSSD_UNROLL
    for (int k = 0; k < kCount; ++k) {
      const T stored = Narrowed<T>(CanonicalLane(x_[p][k]));
      out->Put(k, stored);
      if (k == label) continue;
      noticed_.Output(Widened<double>(stored));
      noticed_.underflow += Widened<float>(stored) == 0 && scale != 0 &&
                            Widened<float>(x[k]) > -__builtin_inff();
    }
  }

  // The label's gradient, by the thread that has stored its packet.
  LOSSD_FN void PutLabel(const Softmax& softmax, double scale, double y,
                         T* to) {
    const double exact =
        -(cross_entropy::Others(softmax, y) * scale / (1.0 + softmax.others));
    *to = Narrowed<T>(CanonicalLane(static_cast<float>(exact)));
    const double stored = Widened<double>(*to);
    noticed_.Output(stored);
    noticed_.underflow += stored == 0 && exact != 0;
  }

  LOSSD_FN void Record(const JobDescriptor& job, int64_t row, double loss) {
    if (job.losses.data) {
      noticed_.Output(PutElement(job.losses, row, CanonicalLane(loss)));
    }
    PutSums(job, row, loss, loss);
  }

  const int cluster_;
  const int rank_;     // of the thread in its team
  const int threads_;  // of a team
  int packets_ = 0;    // of the row
  bool near_ = false;
  float x_[kPackets][kCount];
  Noticed noticed_;
};
