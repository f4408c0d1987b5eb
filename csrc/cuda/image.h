// A program made ready for the device: what lives where in a tile, and the weights as
// its rows are read.
#pragma once

#include <vector>

#include "core/program.h"
#include "cuda/net.h"

namespace sparseagent::cuda {

// What does not depend on the shape of a tile. Throws std::invalid_argument for what
// the device does not run; the message names it.
class Outline {
 public:
  explicit Outline(const Program& program);

  // Steps, outputs and head. The pointers are null.
  const Net& net() const { return net_; }

  // The same with words and doubles where they lie.
  Net net_at(const std::uint32_t* words, const double* doubles) const;
  const std::vector<std::uint32_t>& words() const { return words_; }
  const std::vector<double>& doubles() const { return doubles_; }

  // The place of input column c of layer `number`.
  std::uint32_t source(std::size_t number, std::int32_t column) const {
    return sources_[number][static_cast<std::size_t>(column)];
  }

  // The rows of layer `number` by falling length, and the place of the first one.
  const std::vector<std::int32_t>& order(std::size_t number) const {
    return orders_[number];
  }
  std::uint32_t target(std::size_t number) const { return targets_[number]; }

  // The first of the words that say where the pairs of every row and run of layer
  // `number` end; only where it has several runs.
  std::uint32_t ends(std::size_t number) const { return ends_[number]; }

 private:
  void settle_slots(const Program& program);
  void add(const Op& op, const Program& program, std::size_t number);
  void add_observe(Step* step, const Input& input);
  void add_linear(Step* step, const Op& op);
  void add_view(Step* step, const OpView& view);
  void add_head(const Head& head);
  std::uint32_t add_words(const float* numbers, std::int64_t count);
  std::uint32_t add_words(const std::int32_t* numbers, std::int64_t count);
  std::uint32_t place(const Span& span) const;

  Net net_ = {};
  std::vector<std::uint32_t> words_;
  std::vector<double> doubles_;
  // The first word of each array of the head; kNoWords where it has none.
  struct {
    std::uint32_t low, high, log_std, std, variance, sizes, starts;
  } head_ = {};
  std::vector<std::uint32_t> slots_;    // place of each
  std::vector<std::uint32_t> scratch_;  // of each op
  std::vector<std::vector<std::uint32_t>> sources_;
  std::vector<std::vector<std::int32_t>> orders_;
  std::vector<std::uint32_t> targets_;
  std::vector<std::uint32_t> ends_;
  std::uint32_t pairs_ = 0;  // of the layers so far
};

// The weights for tiles of one shape.
struct Weights {
  std::vector<Pair> pairs;
  std::vector<Row> rows;
};

Weights pack(const Outline& outline, const std::vector<LayerView>& layers,
             const Shape& shape);

}  // namespace sparseagent::cuda
