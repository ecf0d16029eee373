// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/tensor_wire.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace lossd {
namespace {

// Whether numbers nested as `nesting` can stand for a tensor of `shape`: lists
// end at the first size 0, so nothing can be nested below it.
bool Agrees(const Shape& nesting, const Shape& shape) {
  if (nesting == shape) return true;
  return !nesting.empty() && nesting.back() == 0 &&
         nesting.size() <= shape.size() &&
         std::equal(nesting.begin(), nesting.end(), shape.begin());
}

// Makes the view that of an absent tensor.
void Clear(TensorView* view) {
  view->dtype = Dtype::kUnspecified;
  view->shape.clear();
  view->elements = 0;
  view->data = nullptr;
}

}  // namespace

TensorView TensorReader::Read(const v1::Tensor& tensor, DtypeRule rule,
                              const TensorName& name) {
  TensorView view;
  Dtype dtype = Dtype::kUnspecified;
  const bool good_dtype = ReadDtype(tensor, name, &dtype);
  const bool good_shape = ReadShape(tensor, name, &view);
  const bool empty = tensor.content_case() == v1::Tensor::CONTENT_NOT_SET;
  if (empty && shapes_suffice_) {
    if (good_dtype && good_shape) view.dtype = dtype;
  } else if (empty) {
    violations_->Add(Reason::kTensorMissing, name.path,
                     absl::StrCat(name.name,
                                  " has no content: set its values (numbers) "
                                  "or data (bytes)."));
  } else if (good_dtype && good_shape) {
    view.dtype = dtype;
    if (tensor.has_data()) {
      ReadData(tensor, name, &view);
    } else if (tensor.has_shared()) {
      ReadShared(tensor, rule, name, &view);
    } else {
      ReadValues(tensor, rule, name, &view);
    }
  }
  only_values_ = only_values_ && tensor.has_values();
  if (!view.present()) Clear(&view);
  if (rule == DtypeRule::kLeading) leading_ = view;
  return view;
}

bool TensorReader::ReadDtype(const v1::Tensor& tensor, const TensorName& name,
                             Dtype* dtype) {
  if (!v1::Dtype_IsValid(tensor.dtype())) {
    violations_->Add(
        Reason::kDtypeMismatch, name.path,
        absl::StrCat(name.name, " has the dtype number ",
                     static_cast<int>(tensor.dtype()),
                     ", which this server does not know: it knows 1 (float16) "
                     "to 8 (bool)."));
    return false;
  }
  *dtype = static_cast<Dtype>(tensor.dtype());
  const bool inferred = tensor.has_values() ||
                        (tensor.content_case() == v1::Tensor::CONTENT_NOT_SET &&
                         !shapes_suffice_);
  if (*dtype == Dtype::kUnspecified && !inferred) {
    violations_->Add(
        Reason::kDtypeMismatch, name.path,
        absl::StrCat(name.name,
                     " has no dtype: it is required without values."));
    return false;
  }
  return true;
}

bool TensorReader::ReadShape(const v1::Tensor& tensor, const TensorName& name,
                             TensorView* view) {
  if (tensor.shape_size() > max_dimensions_) {
    violations_->AddMetadata("limit", absl::StrCat(max_dimensions_));
    violations_->AddMetadata("actual", absl::StrCat(tensor.shape_size()));
    violations_->Add(Reason::kLimitExceeded, name.path,
                     absl::StrCat(name.name, " has ", tensor.shape_size(),
                                  " dimensions, but this server takes at most ",
                                  max_dimensions_, "."));
    return false;
  }
  view->shape.assign(tensor.shape().begin(), tensor.shape().end());
  for (size_t i = 0; i < view->shape.size(); ++i) {
    if (view->shape[i] >= 0) continue;
    violations_->Add(
        Reason::kShapeMismatch, name.path,
        absl::StrCat(name.name, " has shape ", ShapeName(view->shape),
                     ": dimension ", i, " is ", view->shape[i],
                     ", but a size is at least 0."));
    return false;
  }
  const std::optional<int64_t> elements = ElementCount(view->shape);
  // The largest dtype has 8 bytes an element.
  if (!elements.has_value() || *elements > INT64_MAX / 8) {
    violations_->Add(
        Reason::kShapeMismatch, name.path,
        absl::StrCat(name.name, " has shape ", ShapeName(view->shape),
                     ", whose number of elements overflows 64 bits."));
    return false;
  }
  view->elements = *elements;
  return true;
}

void TensorReader::ReadData(const v1::Tensor& tensor, const TensorName& name,
                            TensorView* view) {
  const int64_t size = DtypeSize(view->dtype);
  const auto actual = static_cast<int64_t>(tensor.data().size());
  if (actual == view->elements * size) {
    view->data = reinterpret_cast<const uint8_t*>(tensor.data().data());
    return;
  }
  const char* plural = view->elements == 1 ? "" : "s";
  violations_->Add(
      Reason::kLengthMismatch, absl::StrCat(name.path, ".data"),
      absl::StrCat(name.name, " has ", actual, " bytes of data, but shape ",
                   ShapeName(view->shape), " of ", DtypeName(view->dtype),
                   " needs ", view->elements * size, " (", view->elements,
                   " element", plural, " of ", size,
                   size == 1 ? " byte" : " bytes", ")."));
  Clear(view);
}

void TensorReader::ReadShared(const v1::Tensor& tensor, DtypeRule rule,
                              const TensorName& name, TensorView* view) {
  const std::string path = absl::StrCat(name.path, ".shared");
  if (!shared_->Read(access_, tensor.shared().token(), tensor.shared().offset(),
                     rule, {name.name, path}, view, violations_)) {
    Clear(view);
  }
}

void TensorReader::ReadValues(const v1::Tensor& tensor, DtypeRule rule,
                              const TensorName& name, TensorView* view) {
  std::optional<NumberList> list =
      ReadNumbers(tensor.values(), name, max_dimensions_, violations_);
  if (!list.has_value()) {
    Clear(view);
    return;
  }
  if (tensor.shape_size() == 0) {
    view->shape = list->shape;
    view->elements = static_cast<int64_t>(list->numbers.size());
  } else if (!Agrees(list->shape, view->shape)) {
    violations_->Add(
        Reason::kShapeMismatch, name.path,
        absl::StrCat(name.name, " has shape ", ShapeName(view->shape),
                     ", but its values are nested as ", ShapeName(list->shape),
                     "."));
    Clear(view);
    return;
  }
  if (view->dtype == Dtype::kUnspecified) {
    view->dtype = InferDtype(*list, view->shape, rule);
  }
  const int before = violations_->count();
  AlignedBuffer buffer = PackNumbers(*list, view->dtype, name, violations_);
  if (violations_->count() != before) {
    Clear(view);
    return;
  }
  view->data = buffer.data();
  numbers_->push_back(std::move(buffer));
}

Dtype TensorReader::InferDtype(const NumberList& list, const Shape& shape,
                               DtypeRule rule) const {
  const Dtype leading =
      IsFloating(leading_.dtype) ? leading_.dtype : Dtype::kFloat32;
  switch (rule) {
    case DtypeRule::kLeading:
      return Dtype::kFloat32;
    case DtypeRule::kSameAsLeading:
      return leading;
    case DtypeRule::kClassIndex:
      return Dtype::kInt64;
    case DtypeRule::kClassIndexOrAsLeading:
      // Class probabilities have the shape of the leading tensor, and class
      // indices lack its class dimension.
      return list.AllIntegers() && shape != leading_.shape ? Dtype::kInt64
                                                           : leading;
    case DtypeRule::kAny:
      return list.AllZeroOrOne() ? Dtype::kUint8 : Dtype::kFloat32;
  }
  return leading;
}

void WriteTensor(const TensorView& tensor, bool as_values, v1::Tensor* wire) {
  wire->set_dtype(static_cast<v1::Dtype>(tensor.dtype));
  wire->mutable_shape()->Add(tensor.shape.begin(), tensor.shape.end());
  if (as_values) {
    WriteNumbers(tensor, wire->mutable_values());
  } else {
    wire->set_data(tensor.data, static_cast<size_t>(tensor.elements *
                                                    DtypeSize(tensor.dtype)));
  }
}

}  // namespace lossd
