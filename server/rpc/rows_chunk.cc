// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/rows_chunk.h"

#include <climits>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/wire_format_lite.h"
#include "server/rpc/field_writer.h"
#include "server/rpc/unknown_fields.h"

namespace lossd {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

constexpr int64_t kAlignment = 64;
constexpr uint32_t kMaxNameBytes = 128;

constexpr uint32_t Tag(int field, WireFormatLite::WireType type) {
  return static_cast<uint32_t>(field) << 3 | static_cast<uint32_t>(type);
}
constexpr uint32_t LengthTag(int field) {
  return Tag(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
}

// The rows of one tensor as they were sent.
struct Piece {
  std::string name;
  const uint8_t* data = nullptr;
  int64_t bytes = 0;
};
using Pieces = absl::InlinedVector<Piece, kMaxTensors>;

// Decodes an ordinary chunk. Each Read... is false if it is not.
class Pass {
 public:
  Pass(const MessageBytes& bytes, BufferPool& pool)
      : stream_(bytes.slices()),
        in_(&stream_),
        memory_(pool.Allocate(bytes.size() + (kMaxTensors + 1) * kAlignment)) {}

  bool Read() {
    return in_.ReadTag() ==
               LengthTag(v1::StreamRowsRequest::kChunkFieldNumber) &&
           ReadNested([this] { return ReadChunk(); }) && in_.ReadTag() == 0 &&
           in_.ConsumedEntireMessage();
  }

  int64_t rows() const { return rows_; }
  const Pieces& pieces() const { return pieces_; }
  AlignedBuffer TakeMemory() { return std::move(memory_); }

 private:
  template <typename Read>
  bool ReadNested(const Read& read) {
    uint32_t length = 0;
    if (!in_.ReadVarint32(&length) || length > INT_MAX) return false;
    const int left = in_.BytesUntilLimit();  // -1 where there is no limit
    if (left >= 0 && static_cast<int>(length) > left) return false;
    const auto limit = in_.PushLimit(static_cast<int>(length));
    const bool good = read() && in_.BytesUntilLimit() == 0;
    in_.PopLimit(limit);
    return good;
  }

  bool ReadChunk() {
    while (const uint32_t tag = in_.ReadTag()) {
      if (tag == Tag(v1::RowsChunk::kRowsFieldNumber,
                     WireFormatLite::WIRETYPE_VARINT)) {
        uint64_t rows = 0;
        if (!in_.ReadVarint64(&rows)) return false;
        rows_ = static_cast<int64_t>(rows);
      } else if (tag != LengthTag(v1::RowsChunk::kTensorsFieldNumber) ||
                 pieces_.size() == kMaxTensors ||
                 !ReadNested([this] { return ReadTensor(); })) {
        return false;
      }
    }
    return in_.ConsumedEntireMessage();
  }

  bool ReadTensor() {
    Piece piece;
    uint32_t length = 0;
    if (in_.ReadTag() != LengthTag(v1::TensorRows::kNameFieldNumber) ||
        !in_.ReadVarint32(&length) || length > kMaxNameBytes ||
        !in_.ReadString(&piece.name, static_cast<int>(length)) ||
        in_.ReadTag() != LengthTag(v1::TensorRows::kDataFieldNumber) ||
        !in_.ReadVarint32(&length) ||
        // The last field, within the message.
        in_.BytesUntilLimit() != static_cast<int>(length)) {
      return false;
    }
    uint8_t* to = memory_.data() + used_;
    piece.data = to;
    piece.bytes = length;
    used_ += (piece.bytes + kAlignment - 1) / kAlignment * kAlignment;
    pieces_.push_back(std::move(piece));
    return in_.ReadRaw(to, static_cast<int>(length));
  }

  SliceInputStream stream_;
  CodedInputStream in_;
  AlignedBuffer memory_;
  int64_t used_ = 0;
  int64_t rows_ = 0;
  Pieces pieces_;
};

// Parses whatever was sent; false after a violation.
bool Parse(const MessageBytes& bytes, absl::string_view version,
           v1::StreamRowsRequest* message, Pieces* pieces,
           Violations* violations) {
  if (!ParseMessage(bytes, message)) {
    violations->Add(Reason::kMalformedRequest, "",
                    "the message is not a lossd.v1.StreamRowsRequest: its "
                    "bytes cannot be parsed.");
    return false;
  }
  FindUnknownFields(*message, version, violations);
  if (!violations->empty()) return false;
  if (!message->has_chunk()) {
    violations->Add(Reason::kMalformedRequest, "",
                    "the message has no chunk: after the head, which comes "
                    "once, every message is a chunk of rows.");
    return false;
  }
  for (const v1::TensorRows& tensor : message->chunk().tensors()) {
    pieces->push_back({tensor.name(),
                       reinterpret_cast<const uint8_t*>(tensor.data().data()),
                       static_cast<int64_t>(tensor.data().size())});
  }
  return true;
}

int SlotOf(const RowStream& stream, absl::string_view name) {
  const auto& tensors = stream.loss().schema.tensors;
  for (size_t slot = 0; slot < tensors.size(); ++slot) {
    if (tensors[slot].name == name && stream.streams(static_cast<int>(slot))) {
      return static_cast<int>(slot);
    }
  }
  return -1;
}

std::string StreamedNames(const RowStream& stream) {
  std::string names;
  const auto& tensors = stream.loss().schema.tensors;
  for (size_t slot = 0; slot < tensors.size(); ++slot) {
    if (!stream.streams(static_cast<int>(slot))) continue;
    absl::StrAppend(&names, names.empty() ? "" : ", ", tensors[slot].name);
  }
  return names;
}

void PlacePiece(const RowStream& stream, const Piece& piece, size_t index,
                RowStream::Chunk* chunk, Violations* violations) {
  const std::string field = absl::StrCat("chunk.tensors[", index, "]");
  const int slot = SlotOf(stream, piece.name);
  if (slot < 0 || chunk->data[static_cast<size_t>(slot)] != nullptr) {
    violations->Add(
        Reason::kOptionInvalid, absl::StrCat(field, ".name"),
        absl::StrCat(field, ".name is ",
                     slot < 0 ? "not that of a streamed tensor: "
                              : "there twice: each chunk has ",
                     StreamedNames(stream), slot < 0 ? " are." : " once."));
    return;
  }
  const int64_t row = stream.RowBytes(slot);
  if (piece.bytes % std::max<int64_t>(row, 1) != 0 ||
      (row > 0 ? piece.bytes / row != chunk->rows : piece.bytes != 0)) {
    violations->Add(
        Reason::kLengthMismatch, absl::StrCat(field, ".data"),
        absl::StrCat(piece.name, " has ", piece.bytes, " bytes, but ",
                     chunk->rows, chunk->rows == 1 ? " row" : " rows", " of ",
                     row, " bytes need another number."));
    return;
  }
  chunk->data[static_cast<size_t>(slot)] = piece.data;
}

bool PlacePieces(const RowStream& stream, const Pieces& pieces,
                 int64_t rows_left, RowStream::Chunk* chunk,
                 Violations* violations) {
  if (chunk->rows < 1 || chunk->rows > rows_left) {
    violations->Add(Reason::kShapeMismatch, "chunk.rows",
                    absl::StrCat("chunk.rows = ", chunk->rows, ", but ",
                                 rows_left, " of ", stream.rows(),
                                 " rows are left: a chunk has at least 1 of "
                                 "them, and all chunks have as many as "
                                 "dimension 0 in the head."));
    return false;
  }
  for (size_t i = 0; i < pieces.size(); ++i) {
    PlacePiece(stream, pieces[i], i, chunk, violations);
  }
  for (int slot = 0; slot < kMaxTensors && violations->empty(); ++slot) {
    if (!stream.streams(slot) || stream.RowBytes(slot) == 0 ||
        chunk->data[static_cast<size_t>(slot)] != nullptr) {
      continue;
    }
    const absl::string_view name =
        stream.loss().schema.tensors[static_cast<size_t>(slot)].name;
    violations->Add(
        Reason::kTensorMissing, "chunk.tensors",
        absl::StrCat(name, " is missing: each chunk has the rows of ",
                     StreamedNames(stream), "."));
  }
  return violations->empty();
}

}  // namespace

bool ReadRows(const MessageBytes& bytes, const RowStream& stream,
              int64_t rows_left, absl::string_view version, BufferPool& pool,
              DecodedRows* rows, Violations* violations) {
  Pass pass(bytes, pool);
  if (pass.Read()) {
    rows->chunk.rows = pass.rows();
    rows->memory = pass.TakeMemory();
    return PlacePieces(stream, pass.pieces(), rows_left, &rows->chunk,
                       violations);
  }
  rows->message = std::make_unique<v1::StreamRowsRequest>();
  Pieces pieces;
  if (!Parse(bytes, version, rows->message.get(), &pieces, violations)) {
    return false;
  }
  rows->chunk.rows = rows->message->chunk().rows();
  return PlacePieces(stream, pieces, rows_left, &rows->chunk, violations);
}

MessageBytes WriteGradientRows(RowStream::Gradients gradients,
                               int64_t max_bytes, int64_t* bytes) {
  std::string rows;
  FieldWriter(&rows).Varint(v1::RowsChunk::kRowsFieldNumber, gradients.rows);
  std::vector<std::string> heads;
  auto inside = static_cast<int64_t>(rows.size());
  for (const RowStream::Gradients::Rows& each : gradients.tensors) {
    std::string head;
    FieldWriter writer(&head);
    writer.Bytes(v1::TensorRows::kNameFieldNumber, each.wrt);
    writer.Length(v1::TensorRows::kDataFieldNumber, each.bytes);
    const int64_t tensor = static_cast<int64_t>(head.size()) + each.bytes;
    heads.emplace_back();
    FieldWriter(&heads.back())
        .Length(v1::RowsChunk::kTensorsFieldNumber, tensor);
    heads.back() += head;
    inside += static_cast<int64_t>(heads.back().size()) + each.bytes;
  }
  std::string text;
  FieldWriter(&text).Length(v1::StreamRowsResponse::kGradientsFieldNumber,
                            inside);
  text += rows;
  *bytes = static_cast<int64_t>(text.size() - rows.size()) + inside;
  if (*bytes > max_bytes || *bytes > INT_MAX) return MessageBytes();
  MessageBuilder builder;
  builder.Append(text);
  for (size_t i = 0; i < heads.size(); ++i) {
    RowStream::Gradients::Rows& each = gradients.tensors[i];
    builder.Append(heads[i]);
    if (each.bytes < kLargeTensorBytes) {
      builder.Append({reinterpret_cast<const char*>(each.data.data()),
                      static_cast<size_t>(each.bytes)});
    } else {
      builder.Append(std::move(each.data), each.bytes);
    }
  }
  return builder.Build();
}

MessageBytes WriteRowsResult(AnswerBytes answer) {
  std::string head;
  FieldWriter(&head).Length(v1::StreamRowsResponse::kResponseFieldNumber,
                            answer.size());
  MessageBuilder builder;
  builder.Append(head);
  std::move(answer).AppendTo(&builder);
  return builder.Build();
}

}  // namespace lossd
