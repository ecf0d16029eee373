// SPDX-License-Identifier: Apache-2.0
//
// The mathematics of the losses in device code, from the same -inl.h files as
// every other target. It is compiled, not run: cuda_math_compiles. Nothing may
// contract a multiplication and an addition, nor flush subnormals: -fmad=false,
// -ftz=false, -prec-div=true.

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>

#include "server/base/ordered_sum.h"
#include "server/kernels/float_bits.h"
#include "server/losses/schema.h"

#define LOSSD_FN __host__ __device__ inline
#define LOSSD_CALL LOSSD_FN

namespace lossd {
namespace cuda {

#include "server/kernels/single-inl.h"

// The arithmetic type of one float, as a thread has it. That of one double is
// Single.
struct Float {
  using Lane = float;
  using Mask = SingleMask;
  using Wide = Single;
  static constexpr int64_t kLanes = 1;
  float v;

  static LOSSD_FN Float Set(double x) { return {static_cast<float>(x)}; }
  static LOSSD_FN Float Load(const float* p) { return {*p}; }
  static LOSSD_FN Float LoadFirst(const float* p, int64_t) { return {*p}; }
  LOSSD_FN void Store(float* p) const { *p = v; }
  LOSSD_FN void StoreFirst(float* p, int64_t) const { *p = v; }
  static LOSSD_FN Mask FirstN(int64_t n) { return {n > 0}; }

  friend LOSSD_FN Float operator+(Float a, Float b) { return {a.v + b.v}; }
  friend LOSSD_FN Float operator-(Float a, Float b) { return {a.v - b.v}; }
  friend LOSSD_FN Float operator*(Float a, Float b) { return {a.v * b.v}; }
  friend LOSSD_FN Float operator/(Float a, Float b) { return {a.v / b.v}; }
  friend LOSSD_FN Float operator-(Float a) { return {-a.v}; }
  friend LOSSD_FN Mask operator<(Float a, Float b) { return {a.v < b.v}; }
  friend LOSSD_FN Mask operator<=(Float a, Float b) { return {a.v <= b.v}; }
  friend LOSSD_FN Mask operator>(Float a, Float b) { return {a.v > b.v}; }
  friend LOSSD_FN Mask operator>=(Float a, Float b) { return {a.v >= b.v}; }
  friend LOSSD_FN Mask operator==(Float a, Float b) { return {a.v == b.v}; }
};
LOSSD_FN Float Fma(Float a, Float b, Float c) {
  return {__builtin_fmaf(a.v, b.v, c.v)};
}
LOSSD_FN Float Abs(Float a) { return {__builtin_fabsf(a.v)}; }
LOSSD_FN Float Select(SingleMask m, Float a, Float b) { return m.set ? a : b; }
LOSSD_FN Float Max(Float a, Float b) { return a.v > b.v ? a : b; }
LOSSD_FN Float Min(Float a, Float b) { return a.v < b.v ? a : b; }
LOSSD_FN Single Widen(Float a) { return {static_cast<double>(a.v)}; }
LOSSD_FN Float Pow2(Float k) {
  const uint32_t bits = std::bit_cast<uint32_t>(k.v + 0x1.8p23f);
  return {std::bit_cast<float>((bits + 127) << 23)};
}
LOSSD_FN void Split(Float x, Float* m, Float* k) {
  constexpr uint32_t kHalfRoot = 0x3f3504f3;  // sqrt(1/2)
  const uint32_t bits = std::bit_cast<uint32_t>(x.v);
  const uint32_t biased = (bits + (0x3f800000 - kHalfRoot)) >> 23;
  m->v = std::bit_cast<float>(bits - ((biased - 127) << 23));
  k->v = std::bit_cast<float>(biased + 0x4b400000 - 127) - 0x1.8p23f;
}
LOSSD_FN double MaxOfLanes(Float a) { return static_cast<double>(a.v); }
template <class V>
requires std::same_as<V, Float> LOSSD_FN SingleMask
LaneIndexAtLeast(int64_t n) {
  return {0 >= n};
}

#include "server/losses/math-inl.h"

#include "server/kernels/lane_loops-inl.h"

#include "server/losses/binary_cross_entropy-inl.h"
#include "server/losses/binary_cross_entropy_with_logits-inl.h"
#include "server/losses/cross_entropy-inl.h"
#include "server/losses/gaussian_nll_loss-inl.h"
#include "server/losses/hinge_embedding_loss-inl.h"
#include "server/losses/huber_loss-inl.h"
#include "server/losses/kl_div-inl.h"
#include "server/losses/l1_loss-inl.h"
#include "server/losses/margin_ranking_loss-inl.h"
#include "server/losses/mse_loss-inl.h"
#include "server/losses/poisson_nll_loss-inl.h"
#include "server/losses/smooth_l1_loss-inl.h"
#include "server/losses/soft_margin_loss-inl.h"

template <class Lane>
struct Elements {
  int64_t count;
  const Lane* operand[kMaxTensors];  // null: 1 everywhere
  double gradient_scale;
  Lane* loss;
  Lane* gradient[kMaxTensors];  // null where not wanted
};

// An element for each thread: its loss and its gradients.
template <class M, class V>
__global__ void EvaluateElements(Elements<typename V::Lane> elements) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= elements.count) return;
  V operand[M::kTensors];
  for (int slot = 0; slot < M::kTensors; ++slot) {
    const auto* values = elements.operand[slot];
    operand[slot] = values ? LoadUpTo<V>(values + i, 1) : V::Set(1.0);
  }
  Element<V> element;
  M::Evaluate(operand, nullptr, &element);
  StoreUpTo(Canonical(element.loss), elements.loss + i, 1);
  const V scale = V::Set(elements.gradient_scale);
  for (int slot = 0; slot < M::kTensors; ++slot) {
    if (elements.gradient[slot] == nullptr) continue;
    StoreUpTo(Canonical(element.gradient[slot] * scale),
              elements.gradient[slot] + i, 1);
  }
}

// exp(x - max) of a row's elements, as the softmax of cross_entropy has it.
template <class V>
__global__ void ExponentiateRow(const typename V::Lane* x, int64_t n,
                                double max, typename V::Lane* out) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  StoreUpTo(cross_entropy::ExpDifference(LoadUpTo<V>(x + i, 1), V::Set(max)),
            out + i, 1);
}

#define LOSSD_INSTANTIATE(loss)                                          \
  template __global__ void EvaluateElements<loss::Math<Float>, Float>(   \
      Elements<float>);                                                  \
  template __global__ void EvaluateElements<loss::Math<Single>, Single>( \
      Elements<double>)
LOSSD_INSTANTIATE(binary_cross_entropy);
LOSSD_INSTANTIATE(binary_cross_entropy_with_logits);
LOSSD_INSTANTIATE(mse_loss);
LOSSD_INSTANTIATE(gaussian_nll_loss);
LOSSD_INSTANTIATE(hinge_embedding_loss);
LOSSD_INSTANTIATE(huber_loss);
LOSSD_INSTANTIATE(kl_div);
LOSSD_INSTANTIATE(l1_loss);
LOSSD_INSTANTIATE(margin_ranking_loss);
LOSSD_INSTANTIATE(poisson_nll_loss);
LOSSD_INSTANTIATE(smooth_l1_loss);
LOSSD_INSTANTIATE(soft_margin_loss);
#undef LOSSD_INSTANTIATE
template __global__ void ExponentiateRow<Float>(const float*, int64_t, double,
                                                float*);
template __global__ void ExponentiateRow<Single>(const double*, int64_t, double,
                                                 double*);

}  // namespace cuda
}  // namespace lossd
