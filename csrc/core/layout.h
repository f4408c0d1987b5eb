// Where the values of a program lie while it runs.
//
// An observation has `stride` floats, in which slots have places; slots that do not
// live at the same time share them. In a tile the same places hold whole rows, one
// float for each observation: place p is at p * width. So one layout serves all
// regimes.
#pragma once

#include <cstdint>
#include <vector>

#include "core/program.h"
#include "core/regime.h"
#include "core/scratch.h"

namespace sparseagent {

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
    std::int32_t number;          // of the layer, or of the input
    std::int32_t in;              // features that a layer reads
    std::int32_t size;            // features that it writes
    std::int64_t y;               // place of them
    std::vector<std::int64_t> x;  // places of what it reads
    OpView view;                  // ops besides layers and inputs
    std::vector<Move> gather;     // reads that must lie side by side
    std::vector<Move> scatter;    // of a part of a slot: kernels write beyond their end

    bool moves() const { return !gather.empty() || !scatter.empty(); }
  };

  // Where an output lies.
  struct Output {
    std::int64_t place;
    std::int32_t size;
  };

  Layout() = default;
  Layout(const Program& program, const std::vector<Regime>& regimes);

  const std::vector<Step>& steps() const { return steps_; }
  const std::vector<Output>& outputs() const { return outputs_; }
  const std::vector<Regime>& regimes() const { return regimes_; }
  std::int64_t stride() const { return stride_; }

  // Observations of the widest regime.
  std::int32_t columns() const { return columns_; }

  // Floats that a walk works in: those of the observations, then scratch memory.
  std::size_t floats() const {
    return static_cast<std::size_t>(own_floats() + scratch_);
  }

  // Where the scratch memory begins.
  std::int64_t own_floats() const;

  // Floats that a part of a layer's rows may write, by itself.
  std::size_t part_floats() const { return part_floats_; }

 private:
  std::vector<Regime> regimes_;
  std::vector<Step> steps_;
  std::vector<Output> outputs_;
  std::int64_t stride_ = 0;
  std::int64_t scratch_ = 0;
  std::int32_t columns_ = 1;
  std::size_t part_floats_ = 0;
};

}  // namespace sparseagent
