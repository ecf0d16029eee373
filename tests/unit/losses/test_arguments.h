// SPDX-License-Identifier: Apache-2.0
//
// Tensors written as numbers, and the arguments of a loss made of them.

#ifndef LOSSD_TESTS_UNIT_LOSSES_TEST_ARGUMENTS_H_
#define LOSSD_TESTS_UNIT_LOSSES_TEST_ARGUMENTS_H_

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "server/base/half.h"
#include "server/base/tensor_view.h"
#include "server/losses/loss.h"

namespace lossd {

// A tensor that owns its bytes, which start `offset` bytes into memory that is
// aligned for any dtype. Copies share the bytes.
class TestTensor {
 public:
  TestTensor(Dtype dtype, const Shape& shape, const std::vector<double>& values,
             size_t offset = 0) {
    view_.dtype = dtype;
    view_.shape = shape;
    view_.elements = ElementCount(shape).value();
    const auto size = static_cast<size_t>(DtypeSize(dtype));
    const auto elements = static_cast<size_t>(view_.elements);
    EXPECT_EQ(values.size(), elements) << ShapeName(shape);
    bytes_ = std::make_shared<std::vector<uint64_t>>(
        (elements * size + offset) / 8 + 1);
    auto* to = reinterpret_cast<uint8_t*>(bytes_->data()) + offset;
    for (size_t i = 0; i < values.size() && i < elements; ++i) {
      Store(values[i], to + i * size);
    }
    view_.data = to;
  }

  // A vector of float32.
  explicit TestTensor(const std::vector<double>& values)
      : TestTensor(Dtype::kFloat32, {static_cast<int64_t>(values.size())},
                   values) {}

  const TensorView& view() const { return view_; }

 private:
  template <class T>
  static void Put(T value, uint8_t* to) {
    std::memcpy(to, &value, sizeof(value));
  }
  void Store(double value, uint8_t* to) const {
    switch (view_.dtype) {
      case Dtype::kFloat16:
        return Put(ToFloat16(value), to);
      case Dtype::kBfloat16:
        return Put(ToBfloat16(value), to);
      case Dtype::kFloat32:
        return Put(static_cast<float>(value), to);
      case Dtype::kFloat64:
        return Put(value, to);
      case Dtype::kInt32:
        return Put(static_cast<int32_t>(value), to);
      case Dtype::kInt64:
        return Put(static_cast<int64_t>(value), to);
      default:
        return Put(static_cast<uint8_t>(value), to);
    }
  }

  TensorView view_;
  std::shared_ptr<std::vector<uint64_t>> bytes_;
};

inline TestTensor Floats(const Shape& shape, const std::vector<double>& v) {
  return TestTensor(Dtype::kFloat32, shape, v);
}
inline TestTensor Doubles(const Shape& shape, const std::vector<double>& v) {
  return TestTensor(Dtype::kFloat64, shape, v);
}
inline TestTensor Indices(const Shape& shape, const std::vector<double>& v) {
  return TestTensor(Dtype::kInt64, shape, v);
}

// A tensor of one value throughout.
inline TestTensor Filled(Dtype dtype, const Shape& shape, double value) {
  const auto elements = static_cast<size_t>(ElementCount(shape).value());
  return TestTensor(dtype, shape, std::vector<double>(elements, value));
}

// Arguments of one loss, by name. Keeps the tensors alive.
class TestArguments {
 public:
  explicit TestArguments(absl::string_view loss) : loss_(FindLoss(loss)) {
    EXPECT_NE(loss_, nullptr) << loss;
    arguments_.parameters.resize(loss_->schema.parameters.size());
  }

  TestArguments& Set(absl::string_view tensor, TestTensor value) {
    arguments_.tensors[SlotOf(loss_->schema.tensors, tensor)] = value.view();
    tensors_.push_back(std::move(value));
    return *this;
  }
  TestArguments& Set(absl::string_view parameter, double value) {
    arguments_.parameters[SlotOf(loss_->schema.parameters, parameter)] = value;
    return *this;
  }

  const LossDefinition& loss() const { return *loss_; }
  const Arguments& arguments() const { return arguments_; }

 private:
  template <class Schema>
  static size_t SlotOf(const std::vector<Schema>& schemas,
                       absl::string_view name) {
    for (size_t slot = 0; slot < schemas.size(); ++slot) {
      if (schemas[slot].name == name) return slot;
    }
    ADD_FAILURE() << "there is no " << name;
    return 0;
  }

  const LossDefinition* loss_;
  Arguments arguments_;
  std::vector<TestTensor> tensors_;
};

}  // namespace lossd

#endif  // LOSSD_TESTS_UNIT_LOSSES_TEST_ARGUMENTS_H_
