// SPDX-License-Identifier: Apache-2.0
//
// The arithmetic type of 16 lanes in Highway vectors: one to four registers, by
// the instruction set.

namespace hn = hwy::HWY_NAMESPACE;

template <class T>
struct PackMask {
  using D = hn::CappedTag<T, 16>;
  static constexpr int kRegisters = 16 / static_cast<int>(hn::MaxLanes(D()));
  hn::Mask<D> m[kRegisters];
};

template <class T>
struct Pack {
  using D = hn::CappedTag<T, 16>;
  using Lane = T;
  using Mask = PackMask<T>;
  using Wide = Pack<double>;
  static constexpr int64_t kLanes = 16;
  static constexpr int64_t kWidth = static_cast<int>(hn::MaxLanes(D()));
  static constexpr int kRegisters = Mask::kRegisters;
  hn::Vec<D> r[kRegisters];

  static LOSSD_FN Pack Set(double x) {
    Pack p;
    for (auto& reg : p.r) reg = hn::Set(D(), static_cast<T>(x));
    return p;
  }
  static LOSSD_FN Pack Load(const T* from) {
    Pack p;
    for (int i = 0; i < kRegisters; ++i)
      p.r[i] = hn::LoadU(D(), from + i * kWidth);
    return p;
  }
  static LOSSD_FN Pack LoadFirst(const T* from, int64_t n) {
    HWY_ALIGN T lanes[16];
    for (int i = 0; i < 16; ++i) lanes[i] = from[i < n ? i : 0];
    return Load(lanes);
  }
  LOSSD_FN void Store(T* to) const {
    for (int i = 0; i < kRegisters; ++i) hn::StoreU(r[i], D(), to + i * kWidth);
  }
  LOSSD_FN void StoreFirst(T* to, int64_t n) const {
    HWY_ALIGN T lanes[16];
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
      for (int i = 0; i < kRegisters; ++i) {
        const auto narrow = hn::DemoteTo(half, r[i]);
        hn::StoreU(narrow, half, floats + i * kWidth);
        p.r[i] = hn::PromoteTo(D(), narrow);
      }
      return p;
    }
  }
  static LOSSD_FN Mask FirstN(int64_t n) {
    Mask m;
    for (int i = 0; i < kRegisters; ++i) {
      const int64_t here = n - i * kWidth;
      m.m[i] = hn::FirstN(D(), static_cast<size_t>(here < 0 ? 0 : here));
    }
    return m;
  }
};

#define LOSSD_PACK_MAP(Result, expression)                  \
  Result p;                                                 \
  for (int i = 0; i < Pack<T>::kRegisters; ++i) expression; \
  return p
#define LOSSD_PACK_BINARY(op, function)                              \
  template <class T>                                                 \
  LOSSD_FN Pack<T> operator op(const Pack<T>& a, const Pack<T>& b) { \
    LOSSD_PACK_MAP(Pack<T>, p.r[i] = hn::function(a.r[i], b.r[i]));  \
  }
LOSSD_PACK_BINARY(+, Add)
LOSSD_PACK_BINARY(-, Sub)
LOSSD_PACK_BINARY(*, Mul)
LOSSD_PACK_BINARY(/, Div)
#undef LOSSD_PACK_BINARY
#define LOSSD_PACK_COMPARE(op, function)                                 \
  template <class T>                                                     \
  LOSSD_FN PackMask<T> operator op(const Pack<T>& a, const Pack<T>& b) { \
    LOSSD_PACK_MAP(PackMask<T>, p.m[i] = hn::function(a.r[i], b.r[i]));  \
  }
LOSSD_PACK_COMPARE(<, Lt)
LOSSD_PACK_COMPARE(<=, Le)
LOSSD_PACK_COMPARE(>, Gt)
LOSSD_PACK_COMPARE(>=, Ge)
LOSSD_PACK_COMPARE(==, Eq)
#undef LOSSD_PACK_COMPARE

template <class T>
LOSSD_FN PackMask<T> operator&(const PackMask<T>& a, const PackMask<T>& b) {
  LOSSD_PACK_MAP(PackMask<T>, p.m[i] = hn::And(a.m[i], b.m[i]));
}
template <class T>
LOSSD_FN PackMask<T> operator|(const PackMask<T>& a, const PackMask<T>& b) {
  LOSSD_PACK_MAP(PackMask<T>, p.m[i] = hn::Or(a.m[i], b.m[i]));
}
template <class T>
LOSSD_FN PackMask<T> Not(const PackMask<T>& a) {
  LOSSD_PACK_MAP(PackMask<T>, p.m[i] = hn::Not(a.m[i]));
}
template <class T>
LOSSD_FN Pack<T> operator-(const Pack<T>& a) {
  LOSSD_PACK_MAP(Pack<T>, p.r[i] = hn::Neg(a.r[i]));
}
template <class T>
LOSSD_FN Pack<T> Fma(const Pack<T>& a, const Pack<T>& b, const Pack<T>& c) {
  LOSSD_PACK_MAP(Pack<T>, p.r[i] = hn::MulAdd(a.r[i], b.r[i], c.r[i]));
}
template <class T>
LOSSD_FN Pack<T> Abs(const Pack<T>& a) {
  LOSSD_PACK_MAP(Pack<T>, p.r[i] = hn::Abs(a.r[i]));
}
template <class T>
LOSSD_FN Pack<T> Select(const PackMask<T>& m, const Pack<T>& a,
                        const Pack<T>& b) {
  LOSSD_PACK_MAP(Pack<T>, p.r[i] = hn::IfThenElse(m.m[i], a.r[i], b.r[i]));
}
// On x86 the instructions give their second operand where one is NaN; elsewhere
// the comparison is spelled out.
template <class T>
LOSSD_FN Pack<T> Max(const Pack<T>& a, const Pack<T>& b) {
#if HWY_ARCH_X86
  LOSSD_PACK_MAP(Pack<T>, p.r[i] = hn::Max(a.r[i], b.r[i]));
#else
  return Select(a > b, a, b);
#endif
}
template <class T>
LOSSD_FN Pack<T> Min(const Pack<T>& a, const Pack<T>& b) {
#if HWY_ARCH_X86
  LOSSD_PACK_MAP(Pack<T>, p.r[i] = hn::Min(a.r[i], b.r[i]));
#else
  return Select(a < b, a, b);
#endif
}
LOSSD_FN Pack<double> Widen(const Pack<double>& a) { return a; }
LOSSD_FN Pack<double> Widen(const Pack<float>& a) {
  constexpr int kPer = Pack<double>::kRegisters / Pack<float>::kRegisters;
  static_assert(kPer == 2);
  const hn::CappedTag<double, 16> d;
  const hn::Half<hn::CappedTag<float, 16>> half;
  Pack<double> p;
  for (int i = 0; i < Pack<float>::kRegisters; ++i) {
    p.r[2 * i] = hn::PromoteTo(d, hn::LowerHalf(half, a.r[i]));
    p.r[2 * i + 1] = hn::PromoteTo(d, hn::UpperHalf(half, a.r[i]));
  }
  return p;
}
template <class T>
LOSSD_FN Pack<T> Pow2(const Pack<T>& k) {
  using B = FloatBits<T>;
  const typename Pack<T>::D d;
  const hn::RebindToUnsigned<typename Pack<T>::D> u;
  const auto magic = hn::BitCast(d, hn::Set(u, B::kMagic));
  const auto bias = hn::Set(u, B::kBias);
  LOSSD_PACK_MAP(Pack<T>,
                 p.r[i] = hn::BitCast(
                     d, hn::ShiftLeft<B::kMantissa>(hn::Add(
                            hn::BitCast(u, hn::Add(k.r[i], magic)), bias))));
}
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
LOSSD_FN Pack<float> ScaleByPow2(const Pack<float>& p, const Pack<float>& k) {
  return {{hn::Vec<Pack<float>::D>{_mm512_scalef_ps(p.r[0].raw, k.r[0].raw)}}};
}
LOSSD_FN Pack<double> ScaleByPow2(const Pack<double>& p,
                                  const Pack<double>& k) {
  Pack<double> r;
  for (int i = 0; i < Pack<double>::kRegisters; ++i) {
    r.r[i] = hn::Vec<Pack<double>::D>{_mm512_scalef_pd(p.r[i].raw, k.r[i].raw)};
  }
  return r;
}
#endif
template <class T>
LOSSD_FN void Split(const Pack<T>& x, Pack<T>* m, Pack<T>* k) {
  using B = FloatBits<T>;
  const typename Pack<T>::D d;
  const hn::RebindToUnsigned<typename Pack<T>::D> u;
  const auto magic = hn::BitCast(d, hn::Set(u, B::kMagic));
  for (int i = 0; i < Pack<T>::kRegisters; ++i) {
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
template <class T>
LOSSD_FN double MaxOfLanes(const Pack<T>& a) {
  HWY_ALIGN T lanes[16];
  a.Store(lanes);
  T max = lanes[0];
  for (T lane : lanes) max = lane > max ? lane : max;
  return static_cast<double>(max);
}
LOSSD_FN double SumOfLanes(const Pack<double>& a) {
  HWY_ALIGN double lanes[16];
  a.Store(lanes);
  return AddLanes(lanes);
}
template <class V>
requires(V::kLanes == 16) LOSSD_FN typename V::Mask
    LaneIndexAtLeast(int64_t n) {
  return Not(V::FirstN(n < 0 ? 0 : n > 16 ? 16 : n));
}
#undef LOSSD_PACK_MAP
