// SPDX-License-Identifier: Apache-2.0
//
// The arithmetic type of N lanes in Highway vectors: 16 in one to four
// registers, by the instruction set, and a Block of them.

namespace hn = hwy::HWY_NAMESPACE;

// Before a loop over registers. g++ would unroll it too late for the registers
// to be taken for anything but memory, and copy them 8 bytes at a time.
#if defined(__clang__)
#define LOSSD_UNROLL _Pragma("clang loop unroll(full)")
#else
#define LOSSD_UNROLL _Pragma("GCC unroll 8")
#endif

// Lanes of a Block: as many as the registers hold without spilling. Two
// registers of float and four of double hide the latency of an operation behind
// the others'.
#if HWY_TARGET <= HWY_AVX3
constexpr int kBlockLanes = 32;
#else
constexpr int kBlockLanes = 16;
#endif

template <class T, int N>
struct PackMask {
  using D = hn::CappedTag<T, 16>;
  static constexpr int kRegisters = N / static_cast<int>(hn::MaxLanes(D()));
  hn::Mask<D> m[kRegisters];
};

template <class T, int N = 16>
struct Pack {
  using D = hn::CappedTag<T, 16>;
  using Lane = T;
  using Mask = PackMask<T, N>;
  using Wide = Pack<double, N>;
  using Block = Pack<T, kBlockLanes>;
  static constexpr int64_t kLanes = N;
  static constexpr int64_t kWidth = static_cast<int>(hn::MaxLanes(D()));
  static constexpr int kRegisters = Mask::kRegisters;
  hn::Vec<D> r[kRegisters];

  static LOSSD_FN Pack Set(double x) {
    Pack p;
    LOSSD_UNROLL
    for (auto& reg : p.r) reg = hn::Set(D(), static_cast<T>(x));
    return p;
  }
  static LOSSD_FN Pack Load(const T* from) {
    Pack p;
    LOSSD_UNROLL
    for (int i = 0; i < kRegisters; ++i)
      p.r[i] = hn::LoadU(D(), from + i * kWidth);
    return p;
  }
  static LOSSD_FN Pack LoadFirst(const T* from, int64_t n) {
    HWY_ALIGN T lanes[N];
    for (int i = 0; i < N; ++i) lanes[i] = from[i < n ? i : 0];
    return Load(lanes);
  }
  LOSSD_FN void Store(T* to) const {
    LOSSD_UNROLL
    for (int i = 0; i < kRegisters; ++i) hn::StoreU(r[i], D(), to + i * kWidth);
  }
  LOSSD_FN void StoreFirst(T* to, int64_t n) const {
    HWY_ALIGN T lanes[N];
    Store(lanes);
    for (int i = 0; i < n; ++i) to[i] = lanes[i];
  }
  static LOSSD_FN Pack LoadFloats(const uint8_t* from) {
    const auto* floats = reinterpret_cast<const float*>(from);
    if constexpr (sizeof(T) == 4) {
      return Load(floats);
    } else {
      const hn::Rebind<float, D> half;
      Pack p;
      LOSSD_UNROLL
      for (int i = 0; i < kRegisters; ++i) {
        p.r[i] = hn::PromoteTo(D(), hn::LoadU(half, floats + i * kWidth));
      }
      return p;
    }
  }
  LOSSD_FN Pack StoreFloats(uint8_t* to) const {
    auto* floats = reinterpret_cast<float*>(to);
    if constexpr (sizeof(T) == 4) {
      Store(floats);
      return *this;
    } else {
      const hn::Rebind<float, D> half;
      Pack p;
      LOSSD_UNROLL
      for (int i = 0; i < kRegisters; ++i) {
        const auto narrow = hn::DemoteTo(half, r[i]);
        hn::StoreU(narrow, half, floats + i * kWidth);
        p.r[i] = hn::PromoteTo(D(), narrow);
      }
      return p;
    }
  }
  // As Store and StoreFloats, past the caches; `to` is aligned to 64 bytes.
  LOSSD_FN void Stream(T* to) const {
    LOSSD_UNROLL
    for (int i = 0; i < kRegisters; ++i) hn::Stream(r[i], D(), to + i * kWidth);
  }
  LOSSD_FN Pack StreamFloats(uint8_t* to) const {
    auto* floats = reinterpret_cast<float*>(to);
    if constexpr (sizeof(T) == 4) {
      Stream(floats);
      return *this;
    } else {
      const hn::Rebind<float, D> half;
      Pack p;
      LOSSD_UNROLL
      for (int i = 0; i < kRegisters; ++i) {
        const auto narrow = hn::DemoteTo(half, r[i]);
        hn::Stream(narrow, half, floats + i * kWidth);
        p.r[i] = hn::PromoteTo(D(), narrow);
      }
      return p;
    }
  }
  static LOSSD_FN void EndStream() { hwy::FlushStream(); }

  // The 16 lanes from 16 * index on.
  LOSSD_FN Pack<T, 16> Part(int index) const {
    Pack<T, 16> p;
    LOSSD_UNROLL
    for (int i = 0; i < Pack<T, 16>::kRegisters; ++i) {
      p.r[i] = r[index * Pack<T, 16>::kRegisters + i];
    }
    return p;
  }
  static LOSSD_FN Mask FirstN(int64_t n) {
    Mask m;
    LOSSD_UNROLL
    for (int i = 0; i < kRegisters; ++i) {
      const int64_t here = n - i * kWidth;
      m.m[i] = hn::FirstN(D(), static_cast<size_t>(here < 0 ? 0 : here));
    }
    return m;
  }
};

#define LOSSD_PACK_MAP(expression)                             \
  LOSSD_UNROLL                                                 \
  for (int i = 0; i < Pack<T, N>::kRegisters; ++i) expression; \
  return p
#define LOSSD_PACK_BINARY(op, function)                                       \
  template <class T, int N>                                                   \
  LOSSD_FN Pack<T, N> operator op(const Pack<T, N>& a, const Pack<T, N>& b) { \
    Pack<T, N> p;                                                             \
    LOSSD_PACK_MAP(p.r[i] = hn::function(a.r[i], b.r[i]));                    \
  }
LOSSD_PACK_BINARY(+, Add)
LOSSD_PACK_BINARY(-, Sub)
LOSSD_PACK_BINARY(*, Mul)
LOSSD_PACK_BINARY(/, Div)
#undef LOSSD_PACK_BINARY
#define LOSSD_PACK_COMPARE(op, function)                     \
  template <class T, int N>                                  \
  LOSSD_FN PackMask<T, N> operator op(const Pack<T, N>& a,   \
                                      const Pack<T, N>& b) { \
    PackMask<T, N> p;                                        \
    LOSSD_PACK_MAP(p.m[i] = hn::function(a.r[i], b.r[i]));   \
  }
LOSSD_PACK_COMPARE(<, Lt)
LOSSD_PACK_COMPARE(<=, Le)
LOSSD_PACK_COMPARE(>, Gt)
LOSSD_PACK_COMPARE(>=, Ge)
LOSSD_PACK_COMPARE(==, Eq)
#undef LOSSD_PACK_COMPARE

template <class T, int N>
LOSSD_FN PackMask<T, N> operator&(const PackMask<T, N>& a,
                                  const PackMask<T, N>& b) {
  PackMask<T, N> p;
  LOSSD_PACK_MAP(p.m[i] = hn::And(a.m[i], b.m[i]));
}
template <class T, int N>
LOSSD_FN PackMask<T, N> operator|(const PackMask<T, N>& a,
                                  const PackMask<T, N>& b) {
  PackMask<T, N> p;
  LOSSD_PACK_MAP(p.m[i] = hn::Or(a.m[i], b.m[i]));
}
template <class T, int N>
LOSSD_FN PackMask<T, N> Not(const PackMask<T, N>& a) {
  PackMask<T, N> p;
  LOSSD_PACK_MAP(p.m[i] = hn::Not(a.m[i]));
}
template <class T, int N>
LOSSD_FN Pack<T, N> operator-(const Pack<T, N>& a) {
  Pack<T, N> p;
  LOSSD_PACK_MAP(p.r[i] = hn::Neg(a.r[i]));
}
template <class T, int N>
LOSSD_FN Pack<T, N> Fma(const Pack<T, N>& a, const Pack<T, N>& b,
                        const Pack<T, N>& c) {
  Pack<T, N> p;
  LOSSD_PACK_MAP(p.r[i] = hn::MulAdd(a.r[i], b.r[i], c.r[i]));
}
template <class T, int N>
LOSSD_FN Pack<T, N> Abs(const Pack<T, N>& a) {
  Pack<T, N> p;
  LOSSD_PACK_MAP(p.r[i] = hn::Abs(a.r[i]));
}
template <class T, int N>
LOSSD_FN Pack<T, N> Select(const PackMask<T, N>& m, const Pack<T, N>& a,
                           const Pack<T, N>& b) {
  Pack<T, N> p;
  LOSSD_PACK_MAP(p.r[i] = hn::IfThenElse(m.m[i], a.r[i], b.r[i]));
}
// On x86 the instructions give their second operand where one is NaN; elsewhere
// the comparison is spelled out.
template <class T, int N>
LOSSD_FN Pack<T, N> Max(const Pack<T, N>& a, const Pack<T, N>& b) {
#if HWY_ARCH_X86
  Pack<T, N> p;
  LOSSD_PACK_MAP(p.r[i] = hn::Max(a.r[i], b.r[i]));
#else
  return Select(a > b, a, b);
#endif
}
template <class T, int N>
LOSSD_FN Pack<T, N> Min(const Pack<T, N>& a, const Pack<T, N>& b) {
#if HWY_ARCH_X86
  Pack<T, N> p;
  LOSSD_PACK_MAP(p.r[i] = hn::Min(a.r[i], b.r[i]));
#else
  return Select(a < b, a, b);
#endif
}
template <int N>
LOSSD_FN Pack<double, N> Widen(const Pack<double, N>& a) {
  return a;
}
template <int N>
LOSSD_FN Pack<double, N> Widen(const Pack<float, N>& a) {
  static_assert(Pack<double, N>::kRegisters == 2 * Pack<float, N>::kRegisters);
  const hn::CappedTag<double, 16> d;
  const hn::Half<hn::CappedTag<float, 16>> half;
  Pack<double, N> p;
  LOSSD_UNROLL
  for (int i = 0; i < Pack<float, N>::kRegisters; ++i) {
    p.r[2 * i] = hn::PromoteTo(d, hn::LowerHalf(half, a.r[i]));
    p.r[2 * i + 1] = hn::PromoteTo(d, hn::UpperHalf(half, a.r[i]));
  }
  return p;
}
// In one instruction; the sign of a zero, which math-inl.h leaves open, is that
// of the argument.
template <class T, int N>
LOSSD_FN Pack<T, N> RoundToInteger(const Pack<T, N>& a) {
  Pack<T, N> p;
  LOSSD_PACK_MAP(p.r[i] = hn::Round(a.r[i]));
}
template <class T, int N>
LOSSD_FN Pack<T, N> Pow2(const Pack<T, N>& k) {
  using B = FloatBits<T>;
  const typename Pack<T, N>::D d;
  const hn::RebindToUnsigned<typename Pack<T, N>::D> u;
  const auto magic = hn::BitCast(d, hn::Set(u, B::kMagic));
  const auto bias = hn::Set(u, B::kBias);
  Pack<T, N> p;
  LOSSD_PACK_MAP(p.r[i] = hn::BitCast(
                     d, hn::ShiftLeft<B::kMantissa>(hn::Add(
                            hn::BitCast(u, hn::Add(k.r[i], magic)), bias))));
}
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
template <int N>
LOSSD_FN Pack<float, N> ScaleByPow2(const Pack<float, N>& p,
                                    const Pack<float, N>& k) {
  Pack<float, N> r;
  LOSSD_UNROLL
  for (int i = 0; i < Pack<float, N>::kRegisters; ++i) {
    r.r[i] = hn::Vec<hn::CappedTag<float, 16>>{
        _mm512_scalef_ps(p.r[i].raw, k.r[i].raw)};
  }
  return r;
}
template <int N>
LOSSD_FN Pack<double, N> ScaleByPow2(const Pack<double, N>& p,
                                     const Pack<double, N>& k) {
  Pack<double, N> r;
  LOSSD_UNROLL
  for (int i = 0; i < Pack<double, N>::kRegisters; ++i) {
    r.r[i] = hn::Vec<hn::CappedTag<double, 16>>{
        _mm512_scalef_pd(p.r[i].raw, k.r[i].raw)};
  }
  return r;
}
#endif
template <class T, int N>
LOSSD_FN void Split(const Pack<T, N>& x, Pack<T, N>* m, Pack<T, N>* k) {
  using B = FloatBits<T>;
  const typename Pack<T, N>::D d;
  const hn::RebindToUnsigned<typename Pack<T, N>::D> u;
  const auto magic = hn::BitCast(d, hn::Set(u, B::kMagic));
  LOSSD_UNROLL
  for (int i = 0; i < Pack<T, N>::kRegisters; ++i) {
    const auto bits = hn::BitCast(u, x.r[i]);
    const auto biased = hn::ShiftRight<B::kMantissa>(
        hn::Add(bits, hn::Set(u, B::kOne - B::kHalfRoot)));
    m->r[i] = hn::BitCast(d, hn::Sub(bits, hn::ShiftLeft<B::kMantissa>(hn::Sub(
                                               biased, hn::Set(u, B::kBias)))));
    k->r[i] = hn::Sub(
        hn::BitCast(d, hn::Add(biased, hn::Set(u, B::kMagic - B::kBias))),
        magic);
  }
}
// The greatest lane, where none is NaN.
template <class T, int N>
LOSSD_FN double MaxOfLanes(const Pack<T, N>& a) {
  auto max = a.r[0];
  LOSSD_UNROLL
  for (int i = 1; i < Pack<T, N>::kRegisters; ++i) max = hn::Max(max, a.r[i]);
  const typename Pack<T, N>::D d;
  return static_cast<double>(hn::GetLane(hn::MaxOfLanes(d, max)));
}
// Adds the upper half of the lanes to the lower one, down to one lane.
template <class D>
LOSSD_FN double AddHalves(D d, hn::Vec<D> a) {
  if constexpr (hn::MaxLanes(D()) == 1) {
    return hn::GetLane(a);
  } else {
    const hn::Half<D> half;
    return AddHalves(half,
                     hn::Add(hn::LowerHalf(half, a), hn::UpperHalf(half, a)));
  }
}
// In the order of AddLanes.
LOSSD_FN double SumOfLanes(const Pack<double>& a) {
  auto sums = a;
  for (int step = Pack<double>::kRegisters / 2; step > 0; step /= 2) {
    for (int i = 0; i < step; ++i) {
      sums.r[i] = hn::Add(sums.r[i], sums.r[i + step]);
    }
  }
  return AddHalves(Pack<double>::D(), sums.r[0]);
}
template <class T, int N>
LOSSD_FN bool Any(const PackMask<T, N>& a) {
  auto any = a.m[0];
  LOSSD_UNROLL
  for (int i = 1; i < PackMask<T, N>::kRegisters; ++i) {
    any = hn::Or(any, a.m[i]);
  }
  return !hn::AllFalse(typename PackMask<T, N>::D(), any);
}
template <class V>
requires(V::kLanes == 16) LOSSD_FN typename V::Mask
    LaneIndexAtLeast(int64_t n) {
  return Not(V::FirstN(n < 0 ? 0 : n > 16 ? 16 : n));
}
#undef LOSSD_PACK_MAP
#undef LOSSD_UNROLL
