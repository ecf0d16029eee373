// SPDX-License-Identifier: Apache-2.0
//
// The arithmetic type of 16 lanes in plain C++: the oracle of every bit, and
// the kernels of a CPU without fused multiply-add.

struct LanesMask {
  bool set[16];
};

template <class T>
struct Lanes {
  using Lane = T;
  using Mask = LanesMask;
  using Wide = Lanes<double>;
  using Block = Lanes;
  static constexpr int64_t kLanes = 16;
  T v[16];

  static Lanes Set(double x) {
    Lanes r;
    for (T& lane : r.v) lane = static_cast<T>(x);
    return r;
  }
  static Lanes Load(const T* p) {
    Lanes r;
    for (int i = 0; i < 16; ++i) r.v[i] = p[i];
    return r;
  }
  static Lanes LoadFirst(const T* p, int64_t n) {
    Lanes r;
    for (int i = 0; i < 16; ++i) r.v[i] = p[i < n ? i : 0];
    return r;
  }
  void Store(T* p) const {
    for (int i = 0; i < 16; ++i) p[i] = v[i];
  }
  void StoreFirst(T* p, int64_t n) const {
    for (int i = 0; i < n; ++i) p[i] = v[i];
  }
  static Lanes LoadFloats(const uint8_t* p) {
    float x[16];
    std::memcpy(x, p, sizeof(x));
    Lanes r;
    for (int i = 0; i < 16; ++i) r.v[i] = static_cast<T>(x[i]);
    return r;
  }
  Lanes StoreFloats(uint8_t* p) const {
    float x[16];
    for (int i = 0; i < 16; ++i) x[i] = static_cast<float>(v[i]);
    std::memcpy(p, x, sizeof(x));
    return LoadFloats(p);
  }
  void Stream(T* p) const { Store(p); }
  Lanes StreamFloats(uint8_t* p) const { return StoreFloats(p); }
  static void EndStream() {}
  Lanes Part(int) const { return *this; }
  static Mask FirstN(int64_t n) {
    Mask m;
    for (int i = 0; i < 16; ++i) m.set[i] = i < n;
    return m;
  }
};

#define LOSSD_LANES_MAP(Result, expression) \
  Result r;                                 \
  for (int i = 0; i < 16; ++i) expression;  \
  return r
#define LOSSD_LANES_BINARY(op)                                 \
  template <class T>                                           \
  Lanes<T> operator op(const Lanes<T>& a, const Lanes<T>& b) { \
    LOSSD_LANES_MAP(Lanes<T>, r.v[i] = a.v[i] op b.v[i]);      \
  }
LOSSD_LANES_BINARY(+)
LOSSD_LANES_BINARY(-)
LOSSD_LANES_BINARY(*)
LOSSD_LANES_BINARY(/)
#undef LOSSD_LANES_BINARY
#define LOSSD_LANES_COMPARE(op)                                 \
  template <class T>                                            \
  LanesMask operator op(const Lanes<T>& a, const Lanes<T>& b) { \
    LOSSD_LANES_MAP(LanesMask, r.set[i] = a.v[i] op b.v[i]);    \
  }
LOSSD_LANES_COMPARE(<)
LOSSD_LANES_COMPARE(<=)
LOSSD_LANES_COMPARE(>)
LOSSD_LANES_COMPARE(>=)
LOSSD_LANES_COMPARE(==)
#undef LOSSD_LANES_COMPARE

inline LanesMask operator&(const LanesMask& a, const LanesMask& b) {
  LOSSD_LANES_MAP(LanesMask, r.set[i] = a.set[i] && b.set[i]);
}
inline LanesMask operator|(const LanesMask& a, const LanesMask& b) {
  LOSSD_LANES_MAP(LanesMask, r.set[i] = a.set[i] || b.set[i]);
}
inline LanesMask Not(const LanesMask& a) {
  LOSSD_LANES_MAP(LanesMask, r.set[i] = !a.set[i]);
}
template <class T>
Lanes<T> operator-(const Lanes<T>& a) {
  LOSSD_LANES_MAP(Lanes<T>, r.v[i] = -a.v[i]);
}
template <class T>
Lanes<T> Fma(const Lanes<T>& a, const Lanes<T>& b, const Lanes<T>& c) {
  LOSSD_LANES_MAP(Lanes<T>, r.v[i] = std::fma(a.v[i], b.v[i], c.v[i]));
}
template <class T>
Lanes<T> Abs(const Lanes<T>& a) {
  LOSSD_LANES_MAP(Lanes<T>, r.v[i] = std::abs(a.v[i]));
}
template <class T>
Lanes<T> Select(const LanesMask& m, const Lanes<T>& a, const Lanes<T>& b) {
  LOSSD_LANES_MAP(Lanes<T>, r.v[i] = m.set[i] ? a.v[i] : b.v[i]);
}
template <class T>
Lanes<T> Max(const Lanes<T>& a, const Lanes<T>& b) {
  return Select(a > b, a, b);
}
template <class T>
Lanes<T> Min(const Lanes<T>& a, const Lanes<T>& b) {
  return Select(a < b, a, b);
}
template <class T>
Lanes<double> Widen(const Lanes<T>& a) {
  LOSSD_LANES_MAP(Lanes<double>, r.v[i] = static_cast<double>(a.v[i]));
}
template <class T>
Lanes<T> Pow2(const Lanes<T>& k) {
  using B = FloatBits<T>;
  using U = typename B::Unsigned;
  const T magic = std::bit_cast<T>(B::kMagic);
  LOSSD_LANES_MAP(Lanes<T>, r.v[i] = std::bit_cast<T>(static_cast<U>(
                                (std::bit_cast<U>(k.v[i] + magic) + B::kBias)
                                << B::kMantissa)));
}
template <class T>
void Split(const Lanes<T>& x, Lanes<T>* m, Lanes<T>* k) {
  using B = FloatBits<T>;
  using U = typename B::Unsigned;
  const T magic = std::bit_cast<T>(B::kMagic);
  for (int i = 0; i < 16; ++i) {
    const U bits = std::bit_cast<U>(x.v[i]);
    const U biased = (bits + (B::kOne - B::kHalfRoot)) >> B::kMantissa;
    m->v[i] = std::bit_cast<T>(
        static_cast<U>(bits - ((biased - B::kBias) << B::kMantissa)));
    k->v[i] =
        std::bit_cast<T>(static_cast<U>(biased + B::kMagic - B::kBias)) - magic;
  }
}
template <class T>
double MaxOfLanes(const Lanes<T>& a) {
  T max = a.v[0];
  for (T lane : a.v) max = lane > max ? lane : max;
  return static_cast<double>(max);
}
inline double SumOfLanes(const Lanes<double>& a) { return AddLanes(a.v); }
inline bool Any(const LanesMask& a) {
  bool any = false;
  for (bool set : a.set) any |= set;
  return any;
}
template <class V>
requires(V::kLanes == 16) LanesMask LaneIndexAtLeast(int64_t n) {
  LOSSD_LANES_MAP(LanesMask, r.set[i] = i >= n);
}
#undef LOSSD_LANES_MAP
