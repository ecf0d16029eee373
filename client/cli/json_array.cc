// SPDX-License-Identifier: Apache-2.0
#include "client/cli/json_array.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/number.h"

namespace lossd::cli {
namespace {

using nlohmann::json;

constexpr size_t kMaxDepth = 32;

// Walks the lists once, with the shape known from the first element of each
// depth.
class Reader {
 public:
  absl::StatusOr<Array> Read(const json& root) {
    for (const json* level = &root; level->is_array(); level = &(*level)[0]) {
      if (array_.shape.size() == kMaxDepth) {
        return absl::InvalidArgumentError(
            absl::StrCat("lists are nested more than ", kMaxDepth, " deep"));
      }
      array_.shape.push_back(static_cast<int64_t>(level->size()));
      if (level->empty()) break;
    }
    if (absl::Status status = Visit(root); !status.ok()) return status;
    if (floating_) {
      array_.kind = Array::Kind::kFloating;
      array_.integers.clear();
    } else {
      array_.kind = booleans_ > 0 && booleans_ == array_.integers.size()
                        ? Array::Kind::kBool
                        : Array::Kind::kInteger;
      array_.floats.clear();
    }
    return std::move(array_);
  }

 private:
  absl::Status Visit(const json& node) {
    if (!node.is_array()) return Number(node);
    const size_t depth = position_.size();
    if (depth == array_.shape.size() ||
        static_cast<int64_t>(node.size()) != array_.shape[depth]) {
      return Error(
          depth == array_.shape.size()
              ? "is a list, but a number comes before it"
              : absl::StrCat("has ", node.size(),
                             " elements, but the lists before it have ",
                             array_.shape[depth]));
    }
    position_.push_back(0);
    for (const json& element : node) {
      if (absl::Status status = Visit(element); !status.ok()) return status;
      ++position_.back();
    }
    position_.pop_back();
    return absl::OkStatus();
  }

  absl::Status Number(const json& node) {
    if (position_.size() != array_.shape.size()) {
      return Error("is not a list, but a list comes before it");
    }
    if (node.is_boolean()) {
      ++booleans_;
      return Integer(node.get<bool>());
    }
    if (node.is_number_unsigned() &&
        node.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()}) {
      return Floating(node.get<double>());
    }
    if (node.is_number_integer()) return Integer(node.get<int64_t>());
    if (node.is_number()) return Floating(node.get<double>());
    if (node.is_string()) {
      const std::string& name = node.get_ref<const std::string&>();
      for (const double special : {std::numeric_limits<double>::quiet_NaN(),
                                   std::numeric_limits<double>::infinity(),
                                   -std::numeric_limits<double>::infinity()}) {
        if (name == FormatNumber(special)) return Floating(special);
      }
    }
    return Error(absl::StrCat(
        "is ", node.dump(-1, ' ', true, json::error_handler_t::replace),
        ", which is not a number"));
  }

  absl::Status Integer(int64_t value) {
    array_.integers.push_back(value);
    array_.floats.push_back(static_cast<double>(value));
    return absl::OkStatus();
  }

  absl::Status Floating(double value) {
    floating_ = true;
    array_.floats.push_back(value);
    return absl::OkStatus();
  }

  absl::Status Error(absl::string_view what) const {
    return absl::InvalidArgumentError(
        absl::StrCat("element [", absl::StrJoin(position_, "]["), "] ", what));
  }

  Array array_;
  std::vector<int64_t> position_;
  bool floating_ = false;
  size_t booleans_ = 0;
};

}  // namespace

absl::StatusOr<Array> ParseJsonArray(absl::string_view text) {
  const json root = json::parse(text.begin(), text.end(), nullptr, false);
  if (root.is_discarded()) {
    return absl::InvalidArgumentError(
        "not a number or nested lists of numbers, such as [[0.5, -1], [2, 0]] "
        "(NaN and infinity are written \"NaN\", \"Infinity\", \"-Infinity\")");
  }
  return Reader().Read(root);
}

}  // namespace lossd::cli
