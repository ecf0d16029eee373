// SPDX-License-Identifier: Apache-2.0
//
// exp, log and log1p over any arithmetic type, in operations that every type
// rounds alike: the bits of a result do not depend on the type's width or
// instruction set.
//
// Like every -inl.h file here, this one includes nothing, opens no namespace of
// the project and has no include guard: a kernel room includes it once for each
// instruction set, inside its own namespace, after defining LOSSD_FN (before a
// function that is to be inlined), LOSSD_CALL (before one that need not be) and
// the arithmetic types. An arithmetic type V offers
//
//   V::Lane, V::kLanes, V::Mask, V::Wide    element type, width, mask, and the
//                                           type of as many double lanes
//   V::Set(double), V::Load(p), V::LoadFirst(p, n), v.Store(p), v.StoreFirst(p,
//   n); V::LoadFloats(p) and v.StoreFloats(p) for floats in memory at any
//   address, the latter giving back what was stored
//   + - * / and unary -; Fma(a, b, c) = a * b + c, rounded once; Abs, Sqrt
//   < <= > >= == giving a mask, & | and Not on masks; Select(mask, a, b)
//   Max(a, b) = a > b ? a : b, Min(a, b) = a < b ? a : b (b where one is NaN)
//   Pow2(k) = 2^k for integral k in the range of normal numbers
//   Any(mask); V::Block, as many V as are computed best at a time, with
//   Part(i), the i-th of them
//   Split(x, &m, &k): positive normal x = m * 2^k with m in [sqrt(1/2),
//   sqrt(2)) Widen(v): V::Wide
//
// LoadFirst loads n < V::kLanes elements and repeats the first in the rest.

// Polynomials and constants by precision. The exponential of float is Cephes'
// (degree 5); everything else is FDLIBM's, with the logarithm of float by its
// shorter series.
template <class Lane>
struct Constants;

template <>
struct Constants<float> {
  static constexpr double kRound = 0x1.8p23;  // x + kRound - kRound rounds x
  static constexpr double kExpLow = -104.0;   // exp of less is 0
  static constexpr double kExpHigh = 89.0;    // exp of more is infinite
  static constexpr double kLn2High = 0x1.62e4p-1;
  static constexpr double kLn2Low = 0x1.7f7d1cp-20;
  static constexpr double kMinNormal = 0x1p-126;
  static constexpr double kSubnormalScale = 0x1p24;
  static constexpr double kSubnormalExponent = 24.0;
};

template <>
struct Constants<double> {
  static constexpr double kRound = 0x1.8p52;
  static constexpr double kExpLow = -746.0;
  static constexpr double kExpHigh = 710.0;
  static constexpr double kLn2High = 0x1.62e42feep-1;
  static constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
  static constexpr double kMinNormal = 0x1p-1022;
  static constexpr double kSubnormalScale = 0x1p54;
  static constexpr double kSubnormalExponent = 54.0;
};

// The nearest integer, ties to even, for |x| far below 2^22. An arithmetic type
// may have an instruction for it: nothing depends on the sign of a zero.
template <class V>
LOSSD_FN V RoundToInteger(V x) {
  const V magic = V::Set(Constants<typename V::Lane>::kRound);
  return (x + magic) - magic;
}

// exp(r) for |r| <= ln(2) / 2 and a correction far smaller than r.
template <class V>
LOSSD_FN V ExpReduced(V r) {
  if constexpr (sizeof(typename V::Lane) == 4) {
    V p = V::Set(1.9875691500e-4);
    p = Fma(p, r, V::Set(1.3981999507e-3));
    p = Fma(p, r, V::Set(8.3334519073e-3));
    p = Fma(p, r, V::Set(4.1665795894e-2));
    p = Fma(p, r, V::Set(1.6666665459e-1));
    p = Fma(p, r, V::Set(5.0000001201e-1));
    return Fma(p, r * r, r) + V::Set(1.0);
  } else {
    const V t = r * r;
    V p = V::Set(4.13813679705723846039e-08);
    p = Fma(p, t, V::Set(-1.65339022054652515390e-06));
    p = Fma(p, t, V::Set(6.61375632143793436117e-05));
    p = Fma(p, t, V::Set(-2.77777777770155933842e-03));
    p = Fma(p, t, V::Set(1.66666666666666019037e-01));
    const V c = r - t * p;
    return V::Set(1.0) + (r + (r * c) / (V::Set(2.0) - c));
  }
}

// p * 2^k, rounded once, for p in [1/2, 2]: in two steps, because 2^k alone may
// be subnormal, or infinite where the product is not. An arithmetic type may
// have an instruction for it.
template <class V>
LOSSD_FN V ScaleByPow2(V p, V k) {
  const V half = RoundToInteger(k * V::Set(0.5));
  return p * Pow2(half) * Pow2(k - half);
}

// exp(x) for x in [kExpLow, kExpHigh], or NaN.
template <class V>
LOSSD_FN V ExpClamped(V x) {
  using K = Constants<typename V::Lane>;
  const V k = RoundToInteger(x * V::Set(0x1.71547652b82fep0));
  V r = Fma(k, V::Set(-K::kLn2High), x);
  r = Fma(k, V::Set(-K::kLn2Low), r);
  return ScaleByPow2(ExpReduced(r), k);
}

// exp(x): at most 2 ulp in float, 1 in double, subnormal results included;
// exactly 1 at 0; NaN stays NaN.
template <class V>
LOSSD_FN V Exp(V x) {
  using K = Constants<typename V::Lane>;
  // Max and Min give their second operand where one is NaN.
  return ExpClamped(Min(V::Set(K::kExpHigh), Max(V::Set(K::kExpLow), x)));
}

// The same for x <= 0, or NaN.
template <class V>
LOSSD_FN V ExpUpToZero(V x) {
  return ExpClamped(Max(V::Set(Constants<typename V::Lane>::kExpLow), x));
}

// The series of log(1 + f) after FDLIBM: s * (f^2 / 2 + R) of its notation.
template <class V>
LOSSD_FN V LogSeries(V f, V half_square) {
  const V s = f / (V::Set(2.0) + f);
  const V z = s * s;
  V r;
  if constexpr (sizeof(typename V::Lane) == 4) {
    r = V::Set(0.24279078841);
    r = Fma(r, z, V::Set(0.28498786688));
    r = Fma(r, z, V::Set(0.40000972152));
    r = Fma(r, z, V::Set(0.66666662693));
  } else {
    r = V::Set(1.479819860511658591e-01);
    r = Fma(r, z, V::Set(1.531383769920937332e-01));
    r = Fma(r, z, V::Set(1.818357216161805012e-01));
    r = Fma(r, z, V::Set(2.222219843214978396e-01));
    r = Fma(r, z, V::Set(2.857142874366239149e-01));
    r = Fma(r, z, V::Set(3.999999999940941908e-01));
    r = Fma(r, z, V::Set(6.666666666666735130e-01));
  }
  return s * Fma(r, z, half_square);
}

// k * ln(2) + log(1 + f) + c, for c far smaller than the rest.
template <class V>
LOSSD_FN V LogCombine(V k, V f, V c) {
  using K = Constants<typename V::Lane>;
  const V half_square = V::Set(0.5) * f * f;
  const V low = LogSeries(f, half_square) + Fma(k, V::Set(K::kLn2Low), c);
  return Fma(k, V::Set(K::kLn2High), f - (half_square - low));
}

// log(x): about 1 ulp; -infinity at 0, NaN below.
template <class V>
LOSSD_FN V Log(V x) {
  using K = Constants<typename V::Lane>;
  const V zero = V::Set(0.0);
  const V infinity = V::Set(__builtin_inf());
  const auto subnormal = x < V::Set(K::kMinNormal);
  V m, k;
  Split(Select(subnormal, x * V::Set(K::kSubnormalScale), x), &m, &k);
  k = Select(subnormal, k - V::Set(K::kSubnormalExponent), k);
  V result = LogCombine(k, m - V::Set(1.0), zero);
  result = Select(x < infinity, result, x);  // infinity and NaN are themselves
  result = Select(x == zero, -infinity, result);
  return Select(x < zero, V::Set(__builtin_nan("")), result);
}

// log(1 + x): about 1 ulp for x >= -1; -infinity at -1, NaN below.
template <class V>
LOSSD_FN V Log1p(V x) {
  const V zero = V::Set(0.0);
  const V one = V::Set(1.0);
  const V infinity = V::Set(__builtin_inf());
  const V u = one + x;
  V m, k;
  Split(u, &m, &k);
  // What 1 + x lost, relative to u.
  const V lost = Select(x > one, one - (u - x), x - (u - one)) / u;
  const auto near = (x > V::Set(-0.29)) & (x < V::Set(0.41));
  V result = LogCombine(Select(near, zero, k), Select(near, x, m - one),
                        Select(near, zero, lost));
  result = Select(x < infinity, result, x);
  result = Select(u == zero, -infinity, result);
  return Select(u < zero, V::Set(__builtin_nan("")), result);
}

// The same for x in [0, 1], or NaN.
template <class V>
LOSSD_FN V Log1pUpToOne(V x) {
  const V zero = V::Set(0.0);
  const V one = V::Set(1.0);
  const V u = one + x;
  V m, k;
  Split(u, &m, &k);
  const V lost = (x - (u - one)) / u;
  const auto near = x < V::Set(0.41);
  const V result = LogCombine(Select(near, zero, k), Select(near, x, m - one),
                              Select(near, zero, lost));
  return Select(x == x, result, x);
}

// softplus(-|x|) = log(1 + exp(-|x|)), and exp(-|x|) itself.
template <class V>
LOSSD_FN V SoftplusOfMinusAbs(V x, V* exp_of_minus_abs) {
  *exp_of_minus_abs = ExpUpToZero(-Abs(x));
  return Log1pUpToOne(*exp_of_minus_abs);
}

// a * b, but 0 where a is 0, whatever b is.
template <class V>
LOSSD_FN V MulOrZero(V a, V b) {
  return Select(a == V::Set(0.0), V::Set(0.0), a * b);
}
