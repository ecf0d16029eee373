// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_ENGINE_ROW_STREAM_H_
#define LOSSD_SERVER_ENGINE_ROW_STREAM_H_

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/base/aligned_buffer.h"
#include "server/base/ordered_sum.h"
#include "server/engine/engine.h"
#include "server/losses/arguments.h"
#include "server/losses/violations.h"

namespace lossd {

// One evaluation whose large tensors arrive in chunks of rows, the slices of
// dimension 0. The result and the gradients have the bits of the evaluation in
// one piece, however it is cut: every sum goes on, in the order of the index,
// where the chunk before ended.
//
// A row loss computes each chunk as it comes, because a unit of its sums is a
// row. An elementwise loss computes whole leaves of kLeaf elements: what does
// not fill one is kept, less than kLeaf elements of each tensor, and the
// gradients of a row come once all of it has been computed.
//
// Memory: that of the head, less than a leaf of each streamed tensor, and of
// the gradients less than a row. Used by one thread at a time.
class RowStream {
 public:
  // Rows of every streamed tensor, by slot; the memory is borrowed for Feed().
  struct Chunk {
    int64_t rows = 0;
    std::array<const uint8_t*, kMaxTensors> data = {};
  };
  // The gradients of the next rows, in the order of wrt.
  struct Gradients {
    struct Rows {
      absl::string_view wrt;
      AlignedBuffer data;
      int64_t bytes = 0;  // of data, from its beginning, that are the rows'
    };
    int64_t rows = 0;
    std::vector<Rows> tensors;
  };

  // `head` is the evaluation in which the tensors that are streamed have dtype
  // and shape, but null data. Null after adding to `violations` what is wrong,
  // or why it cannot be streamed. The engine's limits hold for each chunk and
  // not for the whole. The memory of the head's other tensors, and the engine,
  // outlive the stream.
  static std::unique_ptr<RowStream> Create(const Engine& engine,
                                           Evaluation head,
                                           Violations* violations);

  const LossDefinition& loss() const { return *whole_->evaluation.loss; }
  // The whole as it is now, for records.
  const Task& whole() const { return *whole_; }
  Backend* backend() const { return whole_->backend; }
  // All rows, and those that Feed() has had.
  int64_t rows() const { return rows_; }
  int64_t rows_fed() const { return rows_fed_; }
  bool streams(int slot) const { return (streamed_ >> slot & 1u) != 0; }
  // Bytes of a row of a streamed tensor.
  int64_t RowBytes(int slot) const;

  // What so many rows cost, and of how many units they are, roughly.
  Cost CostOf(int64_t rows) const;
  int64_t UnitsOf(int64_t rows) const;
  // Bytes of the gradients of so many rows.
  int64_t GradientBytes(int64_t rows) const;

  // Computes the next chunk, of at most the rows that are left; every streamed
  // tensor has as many. Fills in the gradients that are ready, where they are
  // wanted. False after adding to `violations` what is wrong with the values:
  // the stream is then over.
  bool Feed(const Chunk& chunk, Gradients* gradients, Violations* violations);

  // The result without its gradients, once all rows have been fed.
  Task& Finish();

 private:
  // A gradient that is wanted.
  struct GradientSlot {
    int slot;
    absl::string_view wrt;
    Dtype dtype;
    int64_t row_bytes;
    AlignedBuffer carried;  // elements of a row that is not complete
  };
  // A run of elements of an elementwise loss.
  struct Run {
    int64_t begin = 0;  // in the loss's shape
    int64_t count = 0;
    // Where the streamed tensors' elements are, by slot.
    std::array<const uint8_t*, kMaxTensors> data = {};
  };

  RowStream(const Engine& engine, std::unique_ptr<Task> whole,
            uint32_t streamed);

  bool FeedRows(const Chunk& chunk, Gradients* gradients,
                Violations* violations);
  bool FeedElements(const Chunk& chunk, Gradients* gradients,
                    Violations* violations);
  bool RunElements(const Run& run, Gradients* gradients, int64_t offset,
                   Violations* violations);
  // The tensors of a chunk of a row loss.
  Arguments RowsOf(const Chunk& chunk);
  // Those of a run, for a kernel; or for messages, where they have its length.
  Arguments ElementsOf(const Run& run, bool named) const;
  // Appends the chunk's elements [from, to) to what is kept.
  void Carry(const Chunk& chunk, int64_t from, int64_t to);
  void AddWeights(const Chunk& chunk);
  // The streamed tensors of the chunk from that element on.
  std::array<const uint8_t*, kMaxTensors> From(const Chunk& chunk,
                                               int64_t element) const;
  // Memory for so many elements, which begin with those that were kept; `rows`
  // will be complete.
  void AllocateGradients(int64_t elements, int64_t rows, Gradients* gradients);
  // Keeps those of so many elements whose row is not complete.
  void CarryGradients(int64_t elements, Gradients* gradients);
  // A job without arguments and geometry.
  Job NewJob(int64_t units, std::vector<double>* sums) const;
  // Runs it and appends its sums.
  void RunJob(Job* job);
  bool DescribeDomain(const Job& job, const Arguments& arguments,
                      Violations* violations) const;
  // Tells in which rows violations were counted.
  void NameRows(int64_t begin, int64_t end, Violations* violations) const;

  const Engine& engine_;
  // Of the whole: evaluation, geometry, findings, and in the end the result.
  const std::unique_ptr<Task> whole_;
  const uint32_t streamed_;  // a bit for each slot
  int64_t rows_ = 0;
  int64_t row_elements_ = 0;  // of an elementwise loss
  double gradient_scale_ = 1;
  bool float_lanes_ = false;
  std::vector<GradientSlot> gradient_slots_;

  int64_t rows_fed_ = 0;
  int64_t rows_given_ = 0;  // whose gradients have been given back
  std::vector<OrderedSum> totals_;
  WeightSum weight_sum_;
  double denominator_ = 0;  // of the rows fed, where it is counted in them
  double metric_denominator_ = 0;
  int64_t ignored_ = 0;

  // Of an elementwise loss.
  int64_t computed_ = 0;  // elements
  int64_t kept_ = 0;      // elements that do not fill a leaf
  std::array<AlignedBuffer, kMaxTensors> kept_data_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_ROW_STREAM_H_
