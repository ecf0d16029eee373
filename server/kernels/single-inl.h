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
  static constexpr int64_t kLanes = 1;
  double v;

  static LOSSD_FN Single Set(double x) { return {x}; }
  static LOSSD_FN Single Load(const double* p) { return {*p}; }
  static LOSSD_FN Single LoadFirst(const double* p, int64_t) { return {*p}; }
  LOSSD_FN void Store(double* p) const { *p = v; }
  LOSSD_FN void StoreFirst(double* p, int64_t) const { *p = v; }
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
  const uint64_t bits = std::bit_cast<uint64_t>(k.v + 0x1.8p52);
  return {std::bit_cast<double>((bits + 1023) << 52)};
}
LOSSD_FN void Split(Single x, Single* m, Single* k) {
  constexpr uint64_t kHalfRoot = 0x3fe6a09e667f3bcd;  // sqrt(1/2)
  const uint64_t bits = std::bit_cast<uint64_t>(x.v);
  const uint64_t shifted = bits + (0x3ff0000000000000 - kHalfRoot);
  const uint64_t biased = shifted >> 52;
  m->v = std::bit_cast<double>(bits - ((biased - 1023) << 52));
  k->v = std::bit_cast<double>(biased + 0x4338000000000000 - 1023) - 0x1.8p52;
}
LOSSD_FN double MaxOfLanes(Single a) { return a.v; }
LOSSD_FN double SumOfLanes(Single a) { return a.v; }
template <class V>
requires std::same_as<V, Single> LOSSD_FN SingleMask
LaneIndexAtLeast(int64_t n) {
  return {0 >= n};
}
