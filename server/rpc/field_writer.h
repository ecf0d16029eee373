// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_FIELD_WRITER_H_
#define LOSSD_SERVER_RPC_FIELD_WRITER_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/wire_format_lite.h"

namespace lossd {

// Appends fields to the bytes of a protobuf message, whatever their values.
class FieldWriter {
 public:
  explicit FieldWriter(std::string* out) : out_(*out) {}

  // An integer, a bool or an enum.
  void Varint(int field, int64_t value) {
    Prefix(field, WireFormatLite::WIRETYPE_VARINT,
           static_cast<uint64_t>(value));
  }
  void Double(int field, double value) {
    uint8_t bytes[kMaxTagBytes + 8];
    uint8_t* end = WireFormatLite::WriteDoubleToArray(field, value, bytes);
    Append(bytes, end);
  }
  void Bytes(int field, absl::string_view bytes) {
    Length(field, static_cast<int64_t>(bytes.size()));
    out_.append(bytes.data(), bytes.size());
  }
  // What precedes the bytes of a string, a message or a packed list.
  void Length(int field, int64_t bytes) {
    Prefix(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED,
           static_cast<uint64_t>(bytes));
  }
  // An element of a packed list.
  void Element(int64_t value) {
    uint8_t bytes[kMaxVarintBytes];
    Append(bytes, CodedOutputStream::WriteVarint64ToArray(
                      static_cast<uint64_t>(value), bytes));
  }

  static int64_t ElementBytes(int64_t value) {
    return static_cast<int64_t>(
        CodedOutputStream::VarintSize64(static_cast<uint64_t>(value)));
  }
  // How many bytes Length() writes.
  static int64_t LengthBytes(int field, int64_t bytes) {
    return ElementBytes(int64_t{field} << 3) + ElementBytes(bytes);
  }

 private:
  using WireFormatLite = google::protobuf::internal::WireFormatLite;
  using CodedOutputStream = google::protobuf::io::CodedOutputStream;
  static constexpr int kMaxTagBytes = 5;
  static constexpr int kMaxVarintBytes = 10;

  void Prefix(int field, WireFormatLite::WireType type, uint64_t value) {
    uint8_t bytes[2 * kMaxVarintBytes];
    uint8_t* end = WireFormatLite::WriteTagToArray(field, type, bytes);
    Append(bytes, CodedOutputStream::WriteVarint64ToArray(value, end));
  }
  void Append(const uint8_t* begin, const uint8_t* end) {
    out_.append(reinterpret_cast<const char*>(begin),
                static_cast<size_t>(end - begin));
  }

  std::string& out_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_FIELD_WRITER_H_
