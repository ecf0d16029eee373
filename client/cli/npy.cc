// SPDX-License-Identifier: Apache-2.0
#include "client/cli/npy.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "lossd/tensor.h"

namespace lossd::cli {
namespace {

constexpr absl::string_view kMagic("\x93NUMPY", 6);

struct Header {
  v1::Dtype dtype = v1::DTYPE_UNSPECIFIED;
  bool big_endian = false;
  bool fortran = false;
  std::vector<int64_t> shape;
};

absl::Status Malformed(absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("not a valid npy file: ", what));
}

// The text of `'key': value` in the header, which is a Python dictionary that
// numpy writes with single quotes, from the value on.
absl::StatusOr<absl::string_view> ValueOf(absl::string_view header,
                                          absl::string_view key) {
  for (const char quote : {'\'', '"'}) {
    const std::string quoted =
        absl::StrCat(std::string(1, quote), key, std::string(1, quote), ":");
    if (const size_t at = header.find(quoted); at != header.npos) {
      return absl::StripLeadingAsciiWhitespace(
          header.substr(at + quoted.size()));
    }
  }
  return Malformed(absl::StrCat("its header lacks '", key, "'"));
}

std::optional<v1::Dtype> DtypeOf(absl::string_view code) {
  static constexpr std::pair<absl::string_view, v1::Dtype> kCodes[] = {
      {"f2", v1::DTYPE_FLOAT16}, {"f4", v1::DTYPE_FLOAT32},
      {"f8", v1::DTYPE_FLOAT64}, {"i4", v1::DTYPE_INT32},
      {"i8", v1::DTYPE_INT64},   {"u1", v1::DTYPE_UINT8},
      {"b1", v1::DTYPE_BOOL}};
  for (const auto& [name, dtype] : kCodes) {
    if (code == name) return dtype;
  }
  return std::nullopt;
}

absl::Status ReadDescr(absl::string_view value, Header& header) {
  const char quote = value.empty() ? '\0' : value[0];
  const size_t end = value.find(quote, 1);
  if ((quote != '\'' && quote != '"') || end == value.npos) {
    return absl::InvalidArgumentError(
        "the npy file has structured elements; f2, f4, f8, i4, i8, u1 and b1 "
        "can be read");
  }
  absl::string_view code = value.substr(1, end - 1);
  const absl::string_view whole = code;
  header.big_endian = absl::ConsumePrefix(&code, ">");
  if (!header.big_endian && !code.empty() &&
      absl::StrContains("<|=", code.substr(0, 1))) {
    code.remove_prefix(1);
  }
  const std::optional<v1::Dtype> dtype = DtypeOf(code);
  if (!dtype.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the npy file has elements of '", whole,
        "'; f2, f4, f8, i4, i8, u1 and b1 can be read: save it with "
        "array.astype('f4')"));
  }
  header.dtype = *dtype;
  return absl::OkStatus();
}

absl::Status ReadShape(absl::string_view value, Header& header) {
  const size_t end = value.find(')');
  if (value.empty() || value[0] != '(' || end == value.npos) {
    return Malformed("its shape is not a tuple");
  }
  for (absl::string_view size : absl::StrSplit(value.substr(1, end - 1), ',')) {
    size = absl::StripAsciiWhitespace(size);
    if (size.empty()) continue;
    absl::ConsumeSuffix(&size, "L");
    int64_t number = 0;
    if (!absl::SimpleAtoi(size, &number)) {
      return Malformed(absl::StrCat("its shape has '", size, "'"));
    }
    header.shape.push_back(number);
  }
  return absl::OkStatus();
}

absl::StatusOr<Header> ParseHeader(absl::string_view text) {
  Header header;
  absl::StatusOr<absl::string_view> descr = ValueOf(text, "descr");
  absl::StatusOr<absl::string_view> order = ValueOf(text, "fortran_order");
  absl::StatusOr<absl::string_view> shape = ValueOf(text, "shape");
  for (const auto* value : {&descr, &order, &shape}) {
    if (!value->ok()) return value->status();
  }
  if (absl::Status status = ReadDescr(*descr, header); !status.ok()) {
    return status;
  }
  header.fortran = absl::StartsWith(*order, "True");
  if (!header.fortran && !absl::StartsWith(*order, "False")) {
    return Malformed("fortran_order is neither True nor False");
  }
  if (absl::Status status = ReadShape(*shape, header); !status.ok()) {
    return status;
  }
  return header;
}

// Splits the file into the text of its header and its elements.
absl::Status Split(absl::string_view bytes, absl::string_view& header,
                   absl::string_view& data) {
  if (bytes.size() < 10) return Malformed("it ends in its header");
  const int major = static_cast<uint8_t>(bytes[6]);
  if (major < 1 || major > 3) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the npy file has format ", major, "; 1, 2 and 3 can be read"));
  }
  const size_t digits = major == 1 ? 2 : 4;
  if (bytes.size() < 8 + digits) return Malformed("it ends in its header");
  size_t length = 0;
  for (size_t i = 0; i < digits; ++i) {
    length |= size_t{static_cast<uint8_t>(bytes[8 + i])} << (8 * i);
  }
  bytes.remove_prefix(8 + digits);
  if (bytes.size() < length) return Malformed("it ends in its header");
  header = bytes.substr(0, length);
  data = bytes.substr(length);
  return absl::OkStatus();
}

// The elements in native byte order and C order.
std::string Normalize(absl::string_view data, const Header& header,
                      int64_t count) {
  const int64_t size = DtypeSize(header.dtype);
  std::string result(data);
  if (header.fortran && header.shape.size() > 1) {
    std::vector<int64_t> index(header.shape.size(), 0);
    for (int64_t from = 0; from < count; ++from) {
      int64_t to = 0;
      for (size_t d = 0; d < index.size(); ++d) {
        to = to * header.shape[d] + index[d];
      }
      std::memcpy(&result[to * size], &data[from * size], size);
      for (size_t d = 0; d < index.size() && ++index[d] == header.shape[d];
           ++d) {
        index[d] = 0;
      }
    }
  }
  if (header.big_endian) {
    for (int64_t i = 0; i < count; ++i) {
      std::reverse(result.begin() + i * size, result.begin() + (i + 1) * size);
    }
  }
  return result;
}

template <typename T>
void Fill(const v1::Tensor& tensor, Array& array) {
  // The lengths agree already.
  const std::vector<T> values = *CopyTensor<T>(tensor);
  for (const T value : values) {
    if constexpr (std::same_as<T, Float16>) {
      array.floats.push_back(ToFloat(value));
    } else if constexpr (std::floating_point<T>) {
      array.floats.push_back(value);
    } else {
      array.integers.push_back(value);
    }
  }
}

Array ToArray(const v1::Tensor& tensor) {
  Array array;
  array.dtype = tensor.dtype();
  array.kind = IsFloating(tensor.dtype())         ? Array::Kind::kFloating
               : tensor.dtype() == v1::DTYPE_BOOL ? Array::Kind::kBool
                                                  : Array::Kind::kInteger;
  array.shape.assign(tensor.shape().begin(), tensor.shape().end());
  switch (tensor.dtype()) {
    case v1::DTYPE_FLOAT16:
      Fill<Float16>(tensor, array);
      break;
    case v1::DTYPE_FLOAT32:
      Fill<float>(tensor, array);
      break;
    case v1::DTYPE_FLOAT64:
      Fill<double>(tensor, array);
      break;
    case v1::DTYPE_INT32:
      Fill<int32_t>(tensor, array);
      break;
    case v1::DTYPE_INT64:
      Fill<int64_t>(tensor, array);
      break;
    case v1::DTYPE_UINT8:
      Fill<uint8_t>(tensor, array);
      break;
    default:
      Fill<bool>(tensor, array);
  }
  return array;
}

absl::string_view CodeOf(v1::Dtype dtype) {
  switch (dtype) {
    case v1::DTYPE_FLOAT16:
      return "<f2";
    case v1::DTYPE_FLOAT64:
      return "<f8";
    case v1::DTYPE_INT32:
      return "<i4";
    case v1::DTYPE_INT64:
      return "<i8";
    case v1::DTYPE_UINT8:
      return "|u1";
    case v1::DTYPE_BOOL:
      return "|b1";
    default:
      return "<f4";
  }
}

}  // namespace

bool IsNpy(absl::string_view bytes) { return absl::StartsWith(bytes, kMagic); }

absl::StatusOr<Array> ParseNpy(absl::string_view bytes) {
  if (!IsNpy(bytes)) return Malformed("it does not begin with \\x93NUMPY");
  absl::string_view text;
  absl::string_view data;
  if (absl::Status status = Split(bytes, text, data); !status.ok()) {
    return status;
  }
  absl::StatusOr<Header> header = ParseHeader(text);
  if (!header.ok()) return header.status();
  absl::StatusOr<int64_t> count = ElementCount(header->shape);
  if (!count.ok()) return Malformed(count.status().message());
  const int64_t size = DtypeSize(header->dtype);
  if (static_cast<int64_t>(data.size()) % size != 0 ||
      static_cast<int64_t>(data.size()) / size != *count) {
    return Malformed(absl::StrCat("it has ", data.size(),
                                  " bytes of elements, but its shape has ",
                                  *count, " elements of ", size));
  }
  v1::Tensor tensor;
  tensor.set_dtype(header->dtype);
  tensor.mutable_shape()->Add(header->shape.begin(), header->shape.end());
  tensor.set_data(Normalize(data, *header, *count));
  return ToArray(tensor);
}

absl::StatusOr<std::string> EncodeNpy(const v1::Tensor& tensor) {
  if (tensor.dtype() == v1::DTYPE_BFLOAT16) {
    absl::StatusOr<std::vector<double>> values = WidenTensor(tensor);
    if (!values.ok()) return values.status();
    return EncodeNpy(MakeTensor(
        std::vector<float>(values->begin(), values->end()), tensor.shape()));
  }
  std::string header =
      absl::StrCat("{'descr': '", CodeOf(tensor.dtype()),
                   "', 'fortran_order': False, 'shape': (",
                   absl::StrJoin(tensor.shape(), ", "),
                   tensor.shape_size() == 1 ? ",), }" : "), }");
  // The elements begin at a multiple of 64 bytes.
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  return absl::StrCat(kMagic, absl::string_view("\x01\x00", 2),
                      std::string(1, static_cast<char>(header.size() & 0xff)),
                      std::string(1, static_cast<char>(header.size() >> 8)),
                      header, tensor.data());
}

}  // namespace lossd::cli
