// SPDX-License-Identifier: Apache-2.0
//
// The arithmetic type of one double, for what a row does once. Its bits are
// those of a lane of any other type.

struct SingleMask {
  bool set;
  friend LOSSD_FN SingleMask operator&(SingleMask a, SingleMask b) {
    return {a.set && b.set};
  }
  friend LOSSD_FN SingleMask operator|(SingleMask a, SingleMask b) {
    return {a.set || b.set};
  }
};
LOSSD_FN SingleMask Not(SingleMask a) { return {!a.set}; }

struct Single {
  using Lane = double;
  using Mask = SingleMask;
  using Wide = Single;
  using Block = Single;
  static constexpr int64_t kLanes = 1;
  double v;

  static LOSSD_FN Single Set(double x) { return {x}; }
  static LOSSD_FN Single Load(const double* p) { return {*p}; }
  static LOSSD_FN Single LoadFirst(const double* p, int64_t) { return {*p}; }
  LOSSD_FN void Store(double* p) const { *p = v; }
  LOSSD_FN void StoreFirst(double* p, int64_t) const { *p = v; }
  static LOSSD_FN Single LoadFloats(const uint8_t* p) {
    float x;
    std::memcpy(&x, p, sizeof(x));
    return {static_cast<double>(x)};
  }
  LOSSD_FN Single StoreFloats(uint8_t* p) const {
    const float x = static_cast<float>(v);
    std::memcpy(p, &x, sizeof(x));
    return {static_cast<double>(x)};
  }
  LOSSD_FN void Stream(double* p) const { Store(p); }
  LOSSD_FN Single StreamFloats(uint8_t* p) const { return StoreFloats(p); }
  static LOSSD_FN void EndStream() {}
  LOSSD_FN Single Part(int) const { return *this; }
  static LOSSD_FN Mask FirstN(int64_t n) { return {n > 0}; }

  friend LOSSD_FN Single operator+(Single a, Single b) { return {a.v + b.v}; }
  friend LOSSD_FN Single operator-(Single a, Single b) { return {a.v - b.v}; }
  friend LOSSD_FN Single operator*(Single a, Single b) { return {a.v * b.v}; }
  friend LOSSD_FN Single operator/(Single a, Single b) { return {a.v / b.v}; }
  friend LOSSD_FN Single operator-(Single a) { return {-a.v}; }
  friend LOSSD_FN Mask operator<(Single a, Single b) { return {a.v < b.v}; }
  friend LOSSD_FN Mask operator<=(Single a, Single b) { return {a.v <= b.v}; }
  friend LOSSD_FN Mask operator>(Single a, Single b) { return {a.v > b.v}; }
  friend LOSSD_FN Mask operator>=(Single a, Single b) { return {a.v >= b.v}; }
  friend LOSSD_FN Mask operator==(Single a, Single b) { return {a.v == b.v}; }
};
LOSSD_FN Single Fma(Single a, Single b, Single c) {
  return {__builtin_fma(a.v, b.v, c.v)};
}
LOSSD_FN Single Abs(Single a) { return {__builtin_fabs(a.v)}; }
LOSSD_FN Single Select(SingleMask m, Single a, Single b) {
  return m.set ? a : b;
}
LOSSD_FN Single Max(Single a, Single b) { return a.v > b.v ? a : b; }
LOSSD_FN Single Min(Single a, Single b) { return a.v < b.v ? a : b; }
LOSSD_FN Single Widen(Single a) { return a; }
LOSSD_FN Single Pow2(Single k) {
  using B = FloatBits<double>;
  const uint64_t bits =
      std::bit_cast<uint64_t>(k.v + std::bit_cast<double>(B::kMagic));
  return {std::bit_cast<double>((bits + B::kBias) << B::kMantissa)};
}
LOSSD_FN void Split(Single x, Single* m, Single* k) {
  using B = FloatBits<double>;
  const uint64_t bits = std::bit_cast<uint64_t>(x.v);
  const uint64_t biased = (bits + (B::kOne - B::kHalfRoot)) >> B::kMantissa;
  m->v = std::bit_cast<double>(bits - ((biased - B::kBias) << B::kMantissa));
  k->v = std::bit_cast<double>(biased + (B::kMagic - B::kBias)) -
         std::bit_cast<double>(B::kMagic);
}
LOSSD_FN double MaxOfLanes(Single a) { return a.v; }
LOSSD_FN double SumOfLanes(Single a) { return a.v; }
LOSSD_FN bool Any(SingleMask a) { return a.set; }
template <class V>
requires std::same_as<V, Single> LOSSD_FN SingleMask
LaneIndexAtLeast(int64_t n) {
  return {0 >= n};
}
