// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/number_list.h"

#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "server/base/half.h"

namespace lossd {
namespace {

using google::protobuf::ListValue;
using google::protobuf::Value;

void AddInvalid(const TensorName& name, std::string description,
                Violations* violations) {
  violations->Add(Reason::kValueInvalid, absl::StrCat(name.path, ".values"),
                  std::move(description));
}

// What a value that should be a number or a list is instead.
absl::string_view KindName(const Value& value) {
  switch (value.kind_case()) {
    case Value::kNumberValue:
    case Value::kBoolValue:
      return "a number";
    case Value::kStringValue:
      return "a string";
    case Value::kListValue:
      return "a list";
    case Value::kStructValue:
      return "an object";
    case Value::kNullValue:
      return "null";
    case Value::KIND_NOT_SET:
      break;
  }
  return "not set";
}

// The number that a value stands for, or nullopt.
std::optional<double> AsNumber(const Value& value) {
  if (value.has_number_value()) return value.number_value();
  if (value.has_bool_value()) return value.bool_value() ? 1.0 : 0.0;
  if (value.has_string_value()) {
    const std::string& text = value.string_value();
    if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
    if (text == "Infinity") return std::numeric_limits<double>::infinity();
    if (text == "-Infinity") return -std::numeric_limits<double>::infinity();
  }
  return std::nullopt;
}

// Flattens nested lists whose first elements gave the shape.
class Flattener {
 public:
  Flattener(const TensorName& name, NumberList* list, Violations* violations)
      : name_(name), list_(list), violations_(violations) {}

  // Whether `value`, at `depth`, fits the shape, as do the values in it.
  bool Add(const Value& value, size_t depth) {
    if (depth < list_->shape.size()) return AddList(value, depth);
    const std::optional<double> number = AsNumber(value);
    if (number.has_value()) {
      list_->numbers.push_back(*number);
      return true;
    }
    return Refuse(
        value.has_list_value()
            ? absl::StrCat("is a list, but ", First(depth), " is a number")
            : absl::StrCat("is ", KindName(value),
                           ", not a number: beside numbers only "
                           "\"NaN\", \"Infinity\", \"-Infinity\", "
                           "true and false can stand there"));
  }

 private:
  bool AddList(const Value& value, size_t depth) {
    if (!value.has_list_value()) {
      return Refuse(absl::StrCat("is ", KindName(value), ", but ", First(depth),
                                 " is a list"));
    }
    const ListValue& values = value.list_value();
    if (values.values_size() != list_->shape[depth]) {
      return Refuse(
          absl::StrCat("has length ", values.values_size(), ", but ",
                       First(depth), " has length ", list_->shape[depth],
                       ": lists of one depth must have equal length"));
    }
    position_.push_back(0);
    for (const Value& element : values.values()) {
      if (!Add(element, depth + 1)) return false;
      ++position_.back();
    }
    position_.pop_back();
    return true;
  }

  // The first value at a depth, such as "input[0, 0]".
  std::string First(size_t depth) const {
    return absl::StrCat(name_.name, Subscripts(Shape(depth, 0)));
  }
  static std::string Subscripts(const Shape& position) {
    return position.empty() ? "" : ShapeName(position);
  }
  bool Refuse(const std::string& why) {
    AddInvalid(name_,
               absl::StrCat(name_.name, Subscripts(position_), " ", why, "."),
               violations_);
    return false;
  }

  const TensorName name_;
  NumberList* const list_;
  Violations* const violations_;
  Shape position_;
};

bool IsIntegral(double number) {
  return std::isfinite(number) && std::trunc(number) == number;
}

// Packs into an integer type; `least` and `past` bound it, [least, past).
template <typename Stored>
void PackIntegers(const NumberList& list, Dtype dtype, double least,
                  double past, const TensorName& name, uint8_t* out,
                  Violations* violations) {
  size_t wrong = 0;
  size_t first = 0;
  for (size_t i = 0; i < list.numbers.size(); ++i) {
    const double number = list.numbers[i];
    if (!IsIntegral(number) || number < least || number >= past) {
      if (wrong++ == 0) first = i;
      continue;
    }
    const auto stored = static_cast<Stored>(number);
    std::memcpy(out + i * sizeof(Stored), &stored, sizeof(Stored));
  }
  if (wrong == 0) return;
  const double number = list.numbers[first];
  const bool integral = IsIntegral(number);
  std::string description = absl::StrCat(
      name.name, IndexName(static_cast<int64_t>(first), list.shape), " = ",
      violations->ValueName(number),
      integral ? " does not fit" : " is not an integer", ", but dtype is ",
      DtypeName(dtype), ".");
  if (wrong > 1) {
    absl::StrAppend(&description, " ", wrong, " of ", list.numbers.size(),
                    " numbers cannot be ", DtypeName(dtype), ".");
  }
  AddInvalid(name, std::move(description), violations);
}

template <typename Stored, typename Convert>
void PackFloats(const NumberList& list, Convert convert, uint8_t* out) {
  for (size_t i = 0; i < list.numbers.size(); ++i) {
    const Stored stored = convert(list.numbers[i]);
    std::memcpy(out + i * sizeof(Stored), &stored, sizeof(Stored));
  }
}

// The double whose shortest decimal is that of the float.
double ShortestAsDouble(float number) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof(text), number).ptr;
  double widened = number;
  std::from_chars(text, end, widened);
  return widened;
}

void SetNumber(double number, bool narrow, Value* value) {
  if (std::isnan(number)) {
    value->set_string_value("NaN");
  } else if (std::isinf(number)) {
    value->set_string_value(number > 0 ? "Infinity" : "-Infinity");
  } else {
    value->set_number_value(
        narrow ? ShortestAsDouble(static_cast<float>(number)) : number);
  }
}

void WriteDimension(const TensorView& tensor, size_t depth, int64_t* next,
                    Value* value) {
  if (depth == tensor.shape.size()) {
    const bool narrow =
        IsFloating(tensor.dtype) && tensor.dtype != Dtype::kFloat64;
    SetNumber(tensor.ValueAt((*next)++), narrow, value);
    return;
  }
  ListValue* list = value->mutable_list_value();
  for (int64_t i = 0; i < tensor.shape[depth]; ++i) {
    WriteDimension(tensor, depth + 1, next, list->add_values());
  }
}

}  // namespace

bool NumberList::AllIntegers() const {
  for (double number : numbers) {
    if (!IsIntegral(number)) return false;
  }
  return true;
}

bool NumberList::AllZeroOrOne() const {
  for (double number : numbers) {
    if (number != 0 && number != 1) return false;
  }
  return true;
}

std::optional<NumberList> ReadNumbers(const Value& value,
                                      const TensorName& name,
                                      int max_dimensions,
                                      Violations* violations) {
  NumberList list;
  const Value* first = &value;
  while (first->has_list_value()) {
    if (list.shape.size() == static_cast<size_t>(max_dimensions)) {
      violations->AddMetadata("limit", absl::StrCat(max_dimensions));
      violations->Add(
          Reason::kLimitExceeded, name.path,
          absl::StrCat(name.name, " has more than ", max_dimensions,
                       " dimensions, the most that this server takes."));
      return std::nullopt;
    }
    const ListValue& values = first->list_value();
    list.shape.push_back(values.values_size());
    if (values.values_size() == 0) break;
    first = &values.values(0);
  }
  if (!Flattener(name, &list, violations).Add(value, 0)) return std::nullopt;
  return list;
}

AlignedBuffer PackNumbers(const NumberList& list, Dtype dtype,
                          const TensorName& name, Violations* violations) {
  AlignedBuffer buffer(static_cast<int64_t>(list.numbers.size()) *
                       DtypeSize(dtype));
  uint8_t* out = buffer.data();
  switch (dtype) {
    case Dtype::kFloat16:
      PackFloats<Float16>(
          list, [](double d) { return ToFloat16(d); }, out);
      break;
    case Dtype::kBfloat16:
      PackFloats<Bfloat16>(
          list, [](double d) { return ToBfloat16(d); }, out);
      break;
    case Dtype::kFloat32:
      PackFloats<float>(
          list, [](double d) { return static_cast<float>(d); }, out);
      break;
    case Dtype::kFloat64:
      PackFloats<double>(
          list, [](double d) { return d; }, out);
      break;
    case Dtype::kInt32:
      PackIntegers<int32_t>(list, dtype, -0x1p31, 0x1p31, name, out,
                            violations);
      break;
    case Dtype::kInt64:
      PackIntegers<int64_t>(list, dtype, -0x1p63, 0x1p63, name, out,
                            violations);
      break;
    case Dtype::kUint8:
      PackIntegers<uint8_t>(list, dtype, 0, 256, name, out, violations);
      break;
    case Dtype::kBool:
      PackIntegers<uint8_t>(list, dtype, 0, 2, name, out, violations);
      break;
    case Dtype::kUnspecified:
      break;
  }
  return buffer;
}

void WriteNumbers(const TensorView& tensor, Value* value) {
  int64_t next = 0;
  WriteDimension(tensor, 0, &next, value);
}

}  // namespace lossd
