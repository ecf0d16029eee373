// SPDX-License-Identifier: Apache-2.0
//
// A row is a sequence of tokens. With r = log_probs - old_log_probs (at
// sequence level its masked mean, held constant, plus log_probs minus itself
// held constant), ratio = exp(r) and A the advantage:
//
//   CLIPPED              max(-A * ratio, -A * clamp(ratio, 1 - low, 1 + high)),
//                        and for A < 0 at most -A * dual_clip
//   CISPO                -clamp(ratio, 1 - low, 1 + high) * A * log_probs, the
//                        first factor held constant
//   IMPORTANCE_SAMPLING  -A * ratio
//
// plus kl_weight times k1 = -d, k2 = d^2 / 2 or k3 = exp(d) - d - 1, with
// d = ref_log_probs - log_probs. Gradients at ties are PyTorch's for these
// expressions: max and min share evenly, clamp passes inside its bounds only.
// The caller replaces masked tokens by zeros before, and they give zeros here.
// Computed in double for every dtype. Source: the papers on PPO, DAPO, GSPO and
// CISPO; checked against TRL's and verl's expressions (tests/golden/README.md).
//
// Metrics: a token counts as clipped where clipping takes its gradient: in
// CLIPPED above 1 + high for A > 0 and below 1 - low for A < 0, in CISPO on
// either side, in IMPORTANCE_SAMPLING never. kl_old is exp(r) - r - 1 of the
// token's r, kl_ref always exp(d) - d - 1.

namespace clipped_policy_loss {

enum Slot { kLogProbs, kOldLogProbs, kRefLogProbs, kAdvantages, kMask };
enum Parameter {
  kObjective,
  kImportanceLevel,
  kClipLow,
  kClipHigh,
  kDualClip,
  kKlWeight,
  kKlEstimator,
  kAggregation,
  kMaxLength,
};
// The numbers of the enums in lossd.v1.ClippedPolicyLoss that matter here.
constexpr double kClipped = 1, kCispo = 2, kImportanceSampling = 3;
constexpr double kSequence = 2;
constexpr double kK1 = 1, kK2 = 2;
constexpr double kSequenceMeanTokenMean = 3;
enum Sum { kClippedHigh, kClippedLow, kRatio, kKlOld, kKlRef };

template <class V>
struct Math : RowLoss {
  using Lane = typename V::Lane;
  static constexpr Operand kOperands[] = {Operand::kRow, Operand::kRow,
                                          Operand::kRow, Operand::kRowOrScalar,
                                          Operand::kRow};
  static constexpr bool kHasTotal = true;

  struct Token {
    V loss, gradient;
  };
  struct Sums {
    V loss, clipped_high, clipped_low, ratio, kl_old, kl_ref;
  };

  static LOSSD_FN typename V::Mask Counts(const Row<V>& row, int64_t i) {
    const auto live = LiveLanes<V>(row.length - i);
    if (!row.operand[kMask]) return live;
    return live & Not(LoadUpTo<V>(row.operand[kMask] + i, row.length - i) ==
                      V::Set(0.0));
  }

  static LOSSD_FN V Advantage(const Row<V>& row, int64_t i) {
    return row.operand[kAdvantages]
               ? LoadUpTo<V>(row.operand[kAdvantages] + i, row.length - i)
               : V::Set(row.scalar[kAdvantages]);
  }

  static LOSSD_FN V LogRatio(const Row<V>& row, int64_t i) {
    const int64_t n = row.length - i;
    return LoadUpTo<V>(row.operand[kLogProbs] + i, n) -
           LoadUpTo<V>(row.operand[kOldLogProbs] + i, n);
  }

  // The clipped surrogate and its derivative with respect to log_probs.
  static LOSSD_FN Token Clipped(const Row<V>& row, V ratio, V clamped, V a) {
    const V zero = V::Set(0.0);
    const V half = V::Set(0.5);
    const V one = V::Set(1.0);
    const V plain = -a * ratio;
    const V bounded = -a * clamped;
    const V low = one - V::Set(row.parameters[kClipLow]);
    const V high = one + V::Set(row.parameters[kClipHigh]);
    const V passed = Select((ratio > low) & (ratio < high), one, zero);
    const V share =
        Select(plain > bounded, one, Select(plain < bounded, zero, half));
    Token token;
    token.loss =
        Select(plain > bounded, plain, Select(plain == plain, bounded, plain));
    token.gradient = plain * (share + (one - share) * passed);
    const double dual = row.parameters[kDualClip];
    if (dual == dual) {
      const V limit = -a * V::Set(dual);
      const auto below = a < zero;
      const V kept = Select(token.loss < limit, one,
                            Select(token.loss > limit, zero, half));
      token.gradient = Select(below, token.gradient * kept, token.gradient);
      token.loss = Select(below & (token.loss > limit), limit, token.loss);
    }
    return token;
  }

  static LOSSD_FN Token Surrogate(const Row<V>& row, V ratio, V clamped, V a,
                                  V log_prob) {
    const double objective = row.parameters[kObjective];
    if (objective == kCispo) {
      const V factor = -clamped * a;
      return {factor * log_prob, factor};
    }
    if (objective == kImportanceSampling) return {-a * ratio, -a * ratio};
    return Clipped(row, ratio, clamped, a);
  }

  static LOSSD_FN Token Divergence(const Row<V>& row, V d) {
    const double estimator = row.parameters[kKlEstimator];
    const V one = V::Set(1.0);
    if (estimator == kK1) return {-d, one};
    if (estimator == kK2) return {V::Set(0.5) * d * d, -d};
    const V e = Exp(d);
    return {(e - d) - one, one - e};
  }

  // The masked mean of the log-ratio, and how many tokens count.
  static LOSSD_CALL double SequenceLogRatio(const Row<V>& row, double* tokens) {
    V sum = V::Set(0.0);
    V count = V::Set(0.0);
    for (int64_t i = 0; i < row.length; i += V::kLanes) {
      const auto counts = Counts(row, i);
      sum = sum + Select(counts, LogRatio(row, i), V::Set(0.0));
      count = count + Select(counts, V::Set(1.0), V::Set(0.0));
    }
    *tokens = SumOfLanes(Widen(count));
    return SumOfLanes(Widen(sum)) / (*tokens > 1.0 ? *tokens : 1.0);
  }

  static LOSSD_FN void AddMetrics(const Row<V>& row, typename V::Mask counts,
                                  V ratio, V r, V a, Sums* sums) {
    const V zero = V::Set(0.0);
    const V one = V::Set(1.0);
    const V low = one - V::Set(row.parameters[kClipLow]);
    const V high = one + V::Set(row.parameters[kClipHigh]);
    const double objective = row.parameters[kObjective];
    const V sign = objective == kClipped ? a : V::Set(objective == kCispo);
    const V other_sign = objective == kClipped ? -a : sign;
    const auto clipped_high = counts & (ratio > high) & (sign > zero);
    const auto clipped_low = counts & (ratio < low) & (other_sign > zero);
    sums->clipped_high = sums->clipped_high + Select(clipped_high, one, zero);
    sums->clipped_low = sums->clipped_low + Select(clipped_low, one, zero);
    sums->ratio = sums->ratio + Select(counts, ratio, zero);
    sums->kl_old = sums->kl_old + Select(counts, (Exp(r) - r) - one, zero);
  }

  static LOSSD_FN V Clamp(const Row<V>& row, V ratio) {
    const V low = V::Set(1.0) - V::Set(row.parameters[kClipLow]);
    const V high = V::Set(1.0) + V::Set(row.parameters[kClipHigh]);
    return Select(ratio < low, low, Select(ratio > high, high, ratio));
  }

  static LOSSD_CALL void Evaluate(const Row<V>& row, RowResult* result) {
    const V zero = V::Set(0.0);
    Sums sums = {zero, zero, zero, zero, zero, zero};
    double tokens;
    const double sequence = SequenceLogRatio(row, &tokens);
    const double length = tokens > 1.0 ? tokens : 1.0;
    const bool mean_of_means =
        row.parameters[kAggregation] == kSequenceMeanTokenMean;
    const double scale =
        row.mean && mean_of_means ? row.scale / length : row.scale;
    V lost = zero;
    for (int64_t i = 0; i < row.length; i += V::kLanes) {
      const int64_t n = row.length - i;
      const auto counts = Counts(row, i);
      const V r = LogRatio(row, i);
      const bool by_sequence = row.parameters[kImportanceLevel] == kSequence;
      const V ratio = Exp(by_sequence ? V::Set(sequence) : r);
      const V a = Advantage(row, i);
      const V log_prob = LoadUpTo<V>(row.operand[kLogProbs] + i, n);
      Token token = Surrogate(row, ratio, Clamp(row, ratio), a, log_prob);
      AddMetrics(row, counts, ratio, r, a, &sums);
      if (row.operand[kRefLogProbs]) {
        const V d = LoadUpTo<V>(row.operand[kRefLogProbs] + i, n) - log_prob;
        const Token kl = Divergence(row, d);
        const V weight = V::Set(row.parameters[kKlWeight]);
        token.loss = token.loss + MulOrZero(weight, kl.loss);
        token.gradient = token.gradient + MulOrZero(weight, kl.gradient);
        sums.kl_ref =
            sums.kl_ref + Select(counts, (Exp(d) - d) - V::Set(1.0), zero);
      }
      token.loss = Select(counts, token.loss, zero);
      sums.loss = sums.loss + token.loss;
      if (row.loss) StoreUpTo(Canonical(token.loss), row.loss + i, n);
      if (!row.gradient[kLogProbs]) continue;
      V factor = V::Set(scale);
      if (row.scales) factor = factor * LoadUpTo<V>(row.scales + i, n);
      const V value = Select(counts, token.gradient * factor, zero);
      const auto underflow = counts & (value == zero) &
                             Not(token.gradient == zero) & Not(factor == zero);
      lost = lost + Select(underflow, V::Set(1.0), zero);
      StoreUpTo(Canonical(value), row.gradient[kLogProbs] + i, n);
    }
    result->underflow += static_cast<int64_t>(SumOfLanes(Widen(lost)));
    result->total = SumOfLanes(Widen(sums.loss));
    result->loss = mean_of_means ? result->total / length : result->total;
    result->sums[kClippedHigh] = SumOfLanes(Widen(sums.clipped_high));
    result->sums[kClippedLow] = SumOfLanes(Widen(sums.clipped_low));
    result->sums[kRatio] = SumOfLanes(Widen(sums.ratio));
    result->sums[kKlOld] = SumOfLanes(Widen(sums.kl_old));
    result->sums[kKlRef] = SumOfLanes(Widen(sums.kl_ref));
  }
};

}  // namespace clipped_policy_loss
