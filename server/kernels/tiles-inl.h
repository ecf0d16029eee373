// SPDX-License-Identifier: Apache-2.0
//
// Between tensors in memory and lanes: dtypes widened and narrowed, weights
// broadcast, a tile at a time in cache.

// Where a job reads and writes more than this, its outputs go past the caches:
// they would not stay there for the reader, and a line that is written past
// them is not read before. Below, they are as good as sent. About the last
// level's share of a few cores; on a machine with 32 MiB of it, stores past the
// caches are faster from here on, and three times slower at a quarter of it.
constexpr int64_t kStreamingBytes = int64_t{32} << 20;

// Widens n elements, `stride` apart, the first of them at index `begin`.
template <class T, class Lane>
inline void WidenAs(const TensorView& tensor, int64_t begin, int64_t n,
                    int64_t stride, Lane* tile) {
  const uint8_t* from = tensor.data + begin * static_cast<int64_t>(sizeof(T));
  const int64_t step = stride * static_cast<int64_t>(sizeof(T));
  if (stride == 1) {
    for (int64_t i = 0; i < n; ++i) {
      T value;
      std::memcpy(&value, from + i * static_cast<int64_t>(sizeof(T)),
                  sizeof(T));
      tile[i] = Widened<Lane>(value);
    }
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    T value;
    std::memcpy(&value, from + i * step, sizeof(T));
    tile[i] = Widened<Lane>(value);
  }
}

// The same for contiguous floats. Gives back whether all are finite.
template <class V>
inline bool WidenFloats(const uint8_t* from, int64_t n,
                        typename V::Lane* tile) {
  using Block = typename V::Block;
  const Block zero = Block::Set(0.0);
  Block flag = zero;  // 0 * x is 0 unless x is NaN or infinite
  int64_t i = 0;
  for (; i + Block::kLanes <= n; i += Block::kLanes) {
    const Block x = Block::LoadFloats(from + i * 4);
    x.Store(tile + i);
    flag = Fma(x, zero, flag);
  }
  bool finite = !Any(Not(flag == zero));
  for (; i < n; ++i) {
    float value;
    std::memcpy(&value, from + i * 4, 4);
    tile[i] = static_cast<typename V::Lane>(value);
    finite &= value - value == 0;
  }
  return finite;
}

template <class V>
inline void WidenTile(const TensorView& tensor, int64_t begin, int64_t n,
                      int64_t stride, typename V::Lane* tile) {
  switch (tensor.dtype) {
    case Dtype::kFloat16:
      return WidenAs<Float16>(tensor, begin, n, stride, tile);
    case Dtype::kBfloat16:
      return WidenAs<Bfloat16>(tensor, begin, n, stride, tile);
    case Dtype::kFloat32:
      if (stride == 1) {
        WidenFloats<V>(tensor.data + begin * 4, n, tile);
        return;
      }
      return WidenAs<float>(tensor, begin, n, stride, tile);
    case Dtype::kFloat64:
      return WidenAs<double>(tensor, begin, n, stride, tile);
    case Dtype::kInt32:
      return WidenAs<int32_t>(tensor, begin, n, stride, tile);
    case Dtype::kInt64:
      return WidenAs<int64_t>(tensor, begin, n, stride, tile);
    default:
      return WidenAs<uint8_t>(tensor, begin, n, stride, tile);
  }
}

// Whether a tensor's memory can be used as lanes where it lies.
template <class Lane>
LOSSD_FN bool IsInPlace(Dtype dtype, const uint8_t* data) {
  constexpr Dtype kDtype =
      sizeof(Lane) == 4 ? Dtype::kFloat32 : Dtype::kFloat64;
  return dtype == kDtype &&
         reinterpret_cast<uintptr_t>(data) % sizeof(Lane) == 0;
}

// n contiguous elements as lanes: in place, or widened into `tile`.
template <class V>
inline const typename V::Lane* LoadTile(const TensorView& tensor, int64_t begin,
                                        int64_t n, typename V::Lane* tile) {
  using Lane = typename V::Lane;
  if (IsInPlace<Lane>(tensor.dtype, tensor.data)) {
    return reinterpret_cast<const Lane*>(tensor.data) + begin;
  }
  WidenTile<V>(tensor, begin, n, 1, tile);
  return tile;
}

// The elements of `tensor`, taken to be of shape `view` and broadcast to
// `shape`, for the linear indices of shape from `begin` on: a run along the
// last dimension at a time.
template <class V>
inline void BroadcastTile(const TensorView& tensor, const Shape& view,
                          const Shape& shape, int64_t begin, int64_t n,
                          typename V::Lane* tile) {
  const size_t dims = shape.size();
  Shape strides(dims, 0);
  int64_t stride = 1;
  for (size_t i = 1; i <= view.size(); ++i) {
    const int64_t size = view[view.size() - i];
    strides[dims - i] = size == 1 ? 0 : stride;
    stride *= size;
  }
  Shape subscripts(dims);
  int64_t rest = begin;
  int64_t offset = 0;
  for (size_t i = dims; i-- > 0;) {
    subscripts[i] = rest % shape[i];
    rest /= shape[i];
    offset += subscripts[i] * strides[i];
  }
  const size_t last = dims - 1;
  for (int64_t i = 0; i < n;) {
    const int64_t left = shape[last] - subscripts[last];
    const int64_t run = left < n - i ? left : n - i;
    if (strides[last] == 1) {
      WidenTile<V>(tensor, offset, run, 1, tile + i);
    } else {
      WidenTile<V>(tensor, offset, 1, 1, tile + i);
      for (int64_t k = 1; k < run; ++k) tile[i + k] = tile[i];
    }
    i += run;
    // To the end of the run, and on to the next.
    offset += (run - 1) * strides[last];
    subscripts[last] += run - 1;
    for (size_t d = dims; d-- > 0;) {
      offset += strides[d];
      if (++subscripts[d] < shape[d]) break;
      offset -= strides[d] * shape[d];
      subscripts[d] = 0;
    }
  }
}

// Narrows n lanes into elements `stride` apart; counts what became zero, and
// sets `infinity` where one is infinite now.
template <class T, class Lane>
inline int64_t NarrowAs(const Lane* tile, int64_t n, const Destination& to,
                        int64_t begin, int64_t stride, bool* infinity) {
  int64_t lost = 0;
  uint8_t* data = to.data + begin * static_cast<int64_t>(sizeof(T));
  for (int64_t i = 0; i < n; ++i) {
    const T value = Narrowed<T>(tile[i]);
    const double stored = Widened<double>(value);
    lost += (stored == 0) & (tile[i] != 0);
    *infinity |= std::abs(stored) == __builtin_inf();
    std::memcpy(data + i * stride * static_cast<int64_t>(sizeof(T)), &value,
                sizeof(T));
  }
  return lost;
}

// The same into contiguous floats. `nan` and `infinity` are set for what is
// stored.
template <class V>
inline int64_t NarrowFloats(const typename V::Lane* tile, int64_t n,
                            const Destination& to, int64_t begin, bool* nan,
                            bool* infinity) {
  using Block = typename V::Block;
  const Block zero = Block::Set(0.0);
  Block lost = zero;
  Block flag = zero;
  int64_t i = 0;
  for (; i + Block::kLanes <= n; i += Block::kLanes) {
    const Block wide = Block::Load(tile + i);
    const Block stored = wide.StoreFloats(to.data + (begin + i) * 4);
    lost = Select((stored == zero) & Not(wide == zero), lost + Block::Set(1.0),
                  lost);
    flag = Fma(stored, zero, flag);
  }
  if (Any(Not(flag == zero))) {
    for (int64_t k = 0; k < i; ++k) {
      const float stored = static_cast<float>(tile[k]);
      *nan |= stored != stored;
      *infinity |= std::isinf(stored);
    }
  }
  double count = 0;
  for (int part = 0; part < Block::kLanes / V::kLanes; ++part) {
    count += SumOfLanes(Widen(lost.Part(part)));
  }
  for (int64_t k = i; k < n; ++k) *nan |= tile[k] != tile[k];
  return static_cast<int64_t>(count) +
         NarrowAs<float>(tile + i, n - i, to, begin + i, 1, infinity);
}

template <class V>
inline int64_t NarrowTile(const typename V::Lane* tile, int64_t n,
                          const Destination& to, int64_t begin, int64_t stride,
                          bool* infinity) {
  bool nan = false;  // of no interest here
  switch (to.dtype) {
    case Dtype::kFloat16:
      return NarrowAs<Float16>(tile, n, to, begin, stride, infinity);
    case Dtype::kBfloat16:
      return NarrowAs<Bfloat16>(tile, n, to, begin, stride, infinity);
    case Dtype::kFloat32:
      if (stride == 1) {
        return NarrowFloats<V>(tile, n, to, begin, &nan, infinity);
      }
      return NarrowAs<float>(tile, n, to, begin, stride, infinity);
    default:
      return NarrowAs<double>(tile, n, to, begin, stride, infinity);
  }
}

// Whether any of n lanes is NaN, and whether any is infinite.
template <class V>
inline void FlagTile(const typename V::Lane* tile, int64_t n, bool* nan,
                     bool* infinity) {
  // 0 * x is 0 unless x is one of them, which is rare.
  const V zero = V::Set(0.0);
  V first = zero;
  V second = zero;
  int64_t i = 0;
  for (; i + 2 * V::kLanes <= n; i += 2 * V::kLanes) {
    first = Fma(V::Load(tile + i), zero, first);
    second = Fma(V::Load(tile + i + V::kLanes), zero, second);
  }
  for (; i < n; i += V::kLanes) {
    first = Fma(LoadUpTo<V>(tile + i, n - i), zero, first);
  }
  const V sum = first + second;
  const V broken = Select(sum == zero, zero, V::Set(1.0));
  if (MaxOfLanes(broken) == 0) return;
  for (i = 0; i < n; ++i) {
    *nan |= tile[i] != tile[i];
    *infinity |= std::abs(tile[i]) == __builtin_inf();
  }
}

// Whether any of n lanes is outside [minimum, maximum], or NaN.
template <class V>
inline bool LeavesDomain(const typename V::Lane* tile, int64_t n,
                         const TensorSchema& schema) {
  const V low = V::Set(schema.minimum.value_or(-__builtin_inf()));
  const V high = V::Set(schema.maximum.value_or(__builtin_inf()));
  V outside = V::Set(0.0);
  for (int64_t i = 0; i < n; i += V::kLanes) {
    const V x = LoadUpTo<V>(tile + i, n - i);
    outside = Select((x >= low) & (x <= high), outside, V::Set(1.0));
  }
  return MaxOfLanes(outside) > 0;
}

// The same for floats in memory.
template <class V>
inline bool LeavesDomainOfFloats(const uint8_t* floats, int64_t n,
                                 const TensorSchema& schema) {
  const V low = V::Set(schema.minimum.value_or(-__builtin_inf()));
  const V high = V::Set(schema.maximum.value_or(__builtin_inf()));
  auto inside = V::FirstN(V::kLanes);
  int64_t i = 0;
  for (; i + V::kLanes <= n; i += V::kLanes) {
    const V x = V::LoadFloats(floats + i * 4);
    inside = inside & (x >= low) & (x <= high);
  }
  bool leaves = Any(Not(inside));
  for (; i < n; ++i) {
    float x;
    std::memcpy(&x, floats + i * 4, 4);
    leaves |=
        !(static_cast<double>(x) >= schema.minimum.value_or(-__builtin_inf()) &&
          static_cast<double>(x) <= schema.maximum.value_or(__builtin_inf()));
  }
  return leaves;
}

// Looks at the values of slot `slot` that are used.
template <class V>
inline void Inspect(const Job& job, int slot, const typename V::Lane* tile,
                    int64_t n, Findings* findings) {
  FlagTile<V>(tile, n, &findings->input_nan, &findings->input_infinity);
  const TensorSchema& schema = job.loss->schema.tensors[slot];
  if ((schema.minimum.has_value() || schema.maximum.has_value()) &&
      LeavesDomain<V>(tile, n, schema)) {
    findings->outside_domain |= 1u << slot;
  }
}

// Where a tile of output is written: in place, or into scratch that Flush
// narrows into the destination.
template <class V>
class OutputTile {
 public:
  using Lane = typename V::Lane;

  // The tile starts at element `begin` and its elements are `stride` apart.
  OutputTile(const Destination& to, int64_t begin, int64_t stride,
             Lane* scratch)
      : to_(to), begin_(begin), stride_(stride) {
    if (to.data == nullptr) return;
    in_place_ = stride == 1 && IsInPlace<Lane>(to.dtype, to.data);
    tile_ = in_place_ ? reinterpret_cast<Lane*>(to.data) + begin : scratch;
  }

  Lane* data() const { return tile_; }  // null: not wanted

  // `is_finite`: the tile is known to hold neither NaN nor infinity.
  void Flush(int64_t n, Findings* findings, bool counts_underflow,
             bool is_finite = false) const {
    if (tile_ == nullptr) return;
    if (!in_place_ && stride_ == 1 && to_.dtype == Dtype::kFloat32) {
      const int64_t lost =
          NarrowFloats<V>(tile_, n, to_, begin_, &findings->result_nan,
                          &findings->result_infinity);
      if (counts_underflow) findings->underflow += lost;
      return;
    }
    if (!is_finite) {
      FlagTile<V>(tile_, n, &findings->result_nan, &findings->result_infinity);
    }
    if (in_place_) return;
    const int64_t lost = NarrowTile<V>(tile_, n, to_, begin_, stride_,
                                       &findings->result_infinity);
    if (counts_underflow) findings->underflow += lost;
  }

 private:
  const Destination to_;
  const int64_t begin_;
  const int64_t stride_;
  bool in_place_ = false;
  Lane* tile_ = nullptr;
};
