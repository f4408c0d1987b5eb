// Where the values of a program lie while it runs, and the walk through its ops.
//
// An observation has `stride` floats, in which slots have places; slots that do not
// live at the same time share them. In a tile the same places hold whole rows, one
// float for each observation: place p is at p * width. So the walk is one for both.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/packed.h"
#include "core/program.h"
#include "core/scratch.h"

namespace sparseagent {

using Layers = std::vector<const PackedLayer*>;

class Layout {
 public:
  // Features that change their place before or after an op.
  struct Move {
    std::int64_t from;
    std::int64_t to;
    std::int32_t size;
  };

  struct Step {
    OpKind kind;
    bool plain;           // a layer that reads and writes where its features lie
    std::int32_t number;  // of the layer, or of the input
    std::int32_t size;    // features that it writes
    std::int64_t y;       // place of them
    std::vector<std::int64_t> x;  // places of what it reads
    OpView view;                  // ops besides layers and inputs
    std::vector<Move> gather;     // reads that must lie side by side
    std::vector<Move> scatter;    // of a part of a slot: kernels write beyond their end
    std::vector<const OpKernel*> kernels;  // by regime
  };

  // What walks through one regime's kernels.
  struct Batch {
    std::size_t regime;
    std::int32_t count;        // observations, at most the regime's
    const float* const* rows;  // of every input, [count, features]
    float* const* outputs;     // of the first `wanted` outputs, [count, size]
    std::size_t wanted;
    float* workspace;  // floats()
  };

  Layout() = default;
  Layout(const Program& program, const std::vector<Regime>& regimes);

  const std::vector<Step>& steps() const { return steps_; }
  const std::vector<Regime>& regimes() const { return regimes_; }
  std::int64_t stride() const { return stride_; }

  // Observations of the widest regime.
  std::int32_t columns() const { return columns_; }

  // Floats that a walk works in: those of the observations, then scratch memory.
  std::size_t floats() const {
    return static_cast<std::size_t>(own_floats() + scratch_);
  }

  // Floats that a part of a layer's rows may write, by itself.
  std::size_t part_floats() const { return part_floats_; }

  // The observations of a batch through all ops, layers as given.
  void walk(const Layers& layers, const Batch& batch) const;

  // The parts of it, for those who do something between them.
  void run(const Step& step, const PackedLayer* layer, const Batch& batch) const;
  void copy_outputs(const Batch& batch) const;

  // Where place p of observation 0 is.
  float* at(const Batch& batch, std::int64_t place) const {
    return batch.workspace + place * widths_[batch.regime];
  }

 private:
  std::int64_t own_floats() const;
  float* scratch(const Batch& batch) const { return batch.workspace + own_floats(); }
  void move(const std::vector<Move>& moves, const Batch& batch) const;
  void load(const Step& step, const Batch& batch) const;

  std::vector<Regime> regimes_;
  std::vector<std::int64_t> widths_;  // by regime: floats of a place
  std::vector<Step> steps_;
  std::vector<Move> outputs_;  // `from` is the place; they are not moved
  std::int64_t stride_ = 0;
  std::int64_t scratch_ = 0;
  std::int32_t columns_ = 1;
  std::size_t part_floats_ = 0;
};

}  // namespace sparseagent
