// SPDX-License-Identifier: Apache-2.0
//
// Between the elements of tensors and lanes.

template <class Lane, class T>
LOSSD_FN Lane Widened(T x) {
  if constexpr (std::same_as<T, Float16> || std::same_as<T, Bfloat16>) {
    return static_cast<Lane>(ToFloat(x));
  } else {
    return static_cast<Lane>(x);
  }
}

template <class T, class Lane>
LOSSD_FN T Narrowed(Lane x) {
  if constexpr (std::same_as<T, Float16>) {
    return ToFloat16(x);
  } else if constexpr (std::same_as<T, Bfloat16>) {
    return ToBfloat16(x);
  } else {
    return static_cast<T>(x);
  }
}
