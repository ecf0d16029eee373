// SPDX-License-Identifier: Apache-2.0
//
// Groups of threads, and the arithmetic type whose lanes they hold. Every
// reduction gives all threads of the group the same bits, in an order that
// depends on their number alone. All threads of a group take part in it.

// A thread by itself.
struct OneThread {
  static constexpr int64_t kThreads = 1;
  static LOSSD_FN int64_t Rank() { return 0; }
  static LOSSD_FN void Sync(const char*, int) {}
  static LOSSD_FN double Sum(double x) { return x; }
  template <class T>
  static LOSSD_FN T Max(T x) {
    return x;
  }
  static LOSSD_FN bool Any(bool x) { return x; }
};

// Where a row's maximum is: `index` is beyond the row for none.
template <class T>
struct Place {
  T value;
  int64_t index;

  // The first NaN, else the first of the greatest.
  LOSSD_FN bool IsBefore(const Place& other, int64_t none) const {
    if (index >= none || other.index >= none) return index < other.index;
    const bool nan = value != value;
    const bool other_nan = other.value != other.value;
    if (nan != other_nan) return nan;
    if (nan || value == other.value) return index < other.index;
    return value > other.value;
  }
};

struct WarpThreads {
  static constexpr int64_t kThreads = kWarpThreads;
  static LOSSD_FN int64_t Rank() { return ThreadIndex() % kWarpThreads; }
  static LOSSD_FN void Sync(const char* file, int line) {
    SyncWarp(file, line);
  }
  static LOSSD_FN double Sum(double x) {
    for (int mask = 16; mask > 0; mask /= 2) x = x + ShuffleXor(x, mask);
    return x;
  }
  template <class T>
  static LOSSD_FN T Max(T x) {
    for (int mask = 16; mask > 0; mask /= 2) {
      const T other = ShuffleXor(x, mask);
      x = other > x ? other : x;
    }
    return x;
  }
  static LOSSD_FN bool Any(bool x) { return AnyInWarp(x); }

  template <class T>
  static LOSSD_FN Place<T> First(Place<T> place, int64_t none) {
    for (int mask = 16; mask > 0; mask /= 2) {
      const Place<T> other = {ShuffleXor(place.value, mask),
                              ShuffleXor(place.index, mask)};
      if (other.IsBefore(place, none)) place = other;
    }
    return place;
  }
  // The index of the first NaN of the row that the lanes looked at, or of its
  // first maximum; n is none's.
  template <class T>
  static LOSSD_FN int64_t FirstMaximum(T value, int64_t index, int64_t n) {
    return First(Place<T>{value, index}, n).index;
  }
};

// All threads of a block. What each warp has found is shared between two
// barriers: the second keeps it until the last warp has read it.
template <int kCount>
struct BlockThreads {
  static constexpr int64_t kThreads = kCount;
  static constexpr int kWarps = kCount / kWarpThreads;
  static LOSSD_FN int64_t Rank() { return ThreadIndex(); }
  static LOSSD_FN void Sync(const char* file, int line) {
    SyncBlock(file, line);
  }

  // Folds the warps' values in the order of the warps.
  template <class T, class F>
  static LOSSD_FN T Fold(T of_warp, F fold) {
    LOSSD_SHARED(T, values, kWarps);
    if (WarpThreads::Rank() == 0)
      values[ThreadIndex() / kWarpThreads] = of_warp;
    SyncBlock(__FILE__, __LINE__);
    T total = values[0];
    for (int warp = 1; warp < kWarps; ++warp) total = fold(total, values[warp]);
    SyncBlock(__FILE__, __LINE__);
    return total;
  }
  static LOSSD_FN double Sum(double x) {
    return Fold(WarpThreads::Sum(x), [](double a, double b) { return a + b; });
  }
  template <class T>
  static LOSSD_FN T Max(T x) {
    return Fold(WarpThreads::Max(x), [](T a, T b) { return b > a ? b : a; });
  }
  static LOSSD_FN bool Any(bool x) {
    return Fold(WarpThreads::Any(x), [](bool a, bool b) { return a || b; });
  }
  template <class T>
  static LOSSD_FN int64_t FirstMaximum(T value, int64_t index, int64_t n) {
    const Place<T> place = WarpThreads::First(Place<T>{value, index}, n);
    const auto before = [n](const Place<T>& a, const Place<T>& b) {
      return b.IsBefore(a, n) ? b : a;
    };
    return Fold(place, before).index;
  }
};

template <class G>
struct GroupMask {
  bool set;
  friend LOSSD_FN GroupMask operator&(GroupMask a, GroupMask b) {
    return {a.set && b.set};
  }
  friend LOSSD_FN GroupMask operator|(GroupMask a, GroupMask b) {
    return {a.set || b.set};
  }
};
template <class G>
LOSSD_FN GroupMask<G> Not(GroupMask<G> a) {
  return {!a.set};
}
template <class G>
LOSSD_FN bool Any(GroupMask<G> a) {
  return G::Any(a.set);
}

// One lane of type T for each thread of G.
template <class T, class G>
struct GroupLanes {
  using Lane = T;
  using Group = G;
  using Mask = GroupMask<G>;
  using Wide = GroupLanes<double, G>;
  using Block = GroupLanes;
  static constexpr int64_t kLanes = G::kThreads;
  T v;

  static LOSSD_FN GroupLanes Set(double x) { return {static_cast<T>(x)}; }
  static LOSSD_FN GroupLanes Load(const T* p) { return {p[G::Rank()]}; }
  static LOSSD_FN GroupLanes LoadFirst(const T* p, int64_t n) {
    return {p[G::Rank() < n ? G::Rank() : 0]};
  }
  LOSSD_FN void Store(T* p) const { p[G::Rank()] = v; }
  LOSSD_FN void StoreFirst(T* p, int64_t n) const {
    if (G::Rank() < n) p[G::Rank()] = v;
  }
  LOSSD_FN void Stream(T* p) const { Store(p); }
  LOSSD_FN GroupLanes Part(int) const { return *this; }
  static LOSSD_FN Mask FirstN(int64_t n) { return {G::Rank() < n}; }

  friend LOSSD_FN GroupLanes operator+(GroupLanes a, GroupLanes b) {
    return {a.v + b.v};
  }
  friend LOSSD_FN GroupLanes operator-(GroupLanes a, GroupLanes b) {
    return {a.v - b.v};
  }
  friend LOSSD_FN GroupLanes operator*(GroupLanes a, GroupLanes b) {
    return {a.v * b.v};
  }
  friend LOSSD_FN GroupLanes operator/(GroupLanes a, GroupLanes b) {
    return {a.v / b.v};
  }
  friend LOSSD_FN GroupLanes operator-(GroupLanes a) { return {-a.v}; }
  friend LOSSD_FN Mask operator<(GroupLanes a, GroupLanes b) {
    return {a.v < b.v};
  }
  friend LOSSD_FN Mask operator<=(GroupLanes a, GroupLanes b) {
    return {a.v <= b.v};
  }
  friend LOSSD_FN Mask operator>(GroupLanes a, GroupLanes b) {
    return {a.v > b.v};
  }
  friend LOSSD_FN Mask operator>=(GroupLanes a, GroupLanes b) {
    return {a.v >= b.v};
  }
  friend LOSSD_FN Mask operator==(GroupLanes a, GroupLanes b) {
    return {a.v == b.v};
  }
  friend LOSSD_FN GroupLanes Fma(GroupLanes a, GroupLanes b, GroupLanes c) {
    if constexpr (sizeof(T) == 4) {
      return {__builtin_fmaf(a.v, b.v, c.v)};
    } else {
      return {__builtin_fma(a.v, b.v, c.v)};
    }
  }
  friend LOSSD_FN GroupLanes Abs(GroupLanes a) {
    if constexpr (sizeof(T) == 4) {
      return {__builtin_fabsf(a.v)};
    } else {
      return {__builtin_fabs(a.v)};
    }
  }
  friend LOSSD_FN GroupLanes Select(Mask m, GroupLanes a, GroupLanes b) {
    return m.set ? a : b;
  }
  friend LOSSD_FN GroupLanes Max(GroupLanes a, GroupLanes b) {
    return a.v > b.v ? a : b;
  }
  friend LOSSD_FN GroupLanes Min(GroupLanes a, GroupLanes b) {
    return a.v < b.v ? a : b;
  }
  friend LOSSD_FN Wide Widen(GroupLanes a) {
    return {static_cast<double>(a.v)};
  }
  friend LOSSD_FN GroupLanes Pow2(GroupLanes k) {
    using B = FloatBits<T>;
    using U = typename B::Unsigned;
    const T magic = std::bit_cast<T>(B::kMagic);
    const U bits = std::bit_cast<U>(k.v + magic);
    return {
        std::bit_cast<T>(static_cast<U>((bits + B::kBias) << B::kMantissa))};
  }
  friend LOSSD_FN void Split(GroupLanes x, GroupLanes* m, GroupLanes* k) {
    using B = FloatBits<T>;
    using U = typename B::Unsigned;
    const U bits = std::bit_cast<U>(x.v);
    const U biased = (bits + (B::kOne - B::kHalfRoot)) >> B::kMantissa;
    m->v = std::bit_cast<T>(
        static_cast<U>(bits - ((biased - B::kBias) << B::kMantissa)));
    k->v = std::bit_cast<T>(static_cast<U>(biased + B::kMagic - B::kBias)) -
           std::bit_cast<T>(B::kMagic);
  }
  friend LOSSD_FN double MaxOfLanes(GroupLanes a) {
    return static_cast<double>(G::Max(a.v));
  }
  friend LOSSD_FN double SumOfLanes(GroupLanes a) {
    return G::Sum(static_cast<double>(a.v));
  }
};

template <class V>
requires requires { typename V::Group; }
LOSSD_FN typename V::Mask LaneIndexAtLeast(int64_t n) {
  return {V::Group::Rank() >= n};
}
