// The walk of observations through a program: its steps bound to what runs them in one
// regime.
#pragma once

#include <cstdint>
#include <vector>

#include "core/layout.h"
#include "core/packed.h"

namespace sparseagent {

class Walk {
 public:
  // One walk: observations, at most the regime's.
  struct Call {
    std::int32_t count;
    const float* const* rows;  // of every input, [count, features]
    float* const* outputs;     // of the first `wanted` outputs, [count, size], or null
    std::size_t wanted;
    float* workspace;  // Layout::floats()
  };

  // Layers as given, by their numbers; the layout and they must outlive it.
  Walk(const Layout& layout, const Regime& regime, const Layers& layers);

  // All steps, then the outputs.
  void run(const Call& call) const;

  // The parts of it, for those who do something between them.
  void run_step(std::size_t number, const Call& call) const;
  void copy_outputs(const Call& call) const;

 private:
  // All that a step reads of itself, in one cache line: a large network drives it out
  // of the first cache at every walk. Places are in floats of the regime.
  struct alignas(64) Step {
    enum class Kind : std::int32_t { layer, image, op, input };
    Kind kind;
    std::int32_t number;  // of the input
    std::int32_t size;    // features that an input has
    bool moves;
    union {
      void (*layer)(const void* packed, const Batch& batch, const float* x, float* y);
      const OpKernel* op;
    };
    const void* data;  // packed layer, or OpView
    std::int64_t x;
    std::int64_t x_more;  // an op's second read, or the zero behind a layer's
    std::int64_t y;
    const Layout::Step* from;
  };

  static_assert(sizeof(Step) == 64);

  void run_step(const Step& step, const Call& call) const;
  void run_layer(const Step& step, const Call& call) const;
  void run_image(const Step& step, const Call& call) const;
  void run_op(const Step& step, const Call& call) const;
  void load(const Step& step, const Call& call) const;
  void move(const std::vector<Layout::Move>& moves, const Call& call) const;

  Batch batch_;
  std::int32_t width_;    // of a tile, or 1
  std::int64_t scratch_;  // where in the workspace it begins
  std::vector<Step> steps_;
  std::vector<Layout::Output> outputs_;
  const Transposes* transposes_;
};

}  // namespace sparseagent
