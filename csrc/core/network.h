// The packed layers of one plan, and the walk of an observation or a tile through all
// of them.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "core/buffer.h"
#include "core/kernel.h"

namespace sparseagent {

// One layer packed for one kernel on one path.
struct PackedLayer {
  const Kernel* kernel = nullptr;
  std::int64_t in = 0;
  Buffer data;

  PackedLayer() = default;
  PackedLayer(const Kernel& kernel, const LayerView& layer, Path path);
  void refresh(const LayerView& layer, Path path) {
    kernel->pack(layer, path, data.data());
  }

  // Run the kernel; the zeros that it may want are written behind x.
  void one(float* x, float* y) const {
    x[in] = 0.0f;
    kernel->one(data.data(), x, y);
  }
  void tile(float* x, float* y, int vectors) const {
    const std::int64_t width = static_cast<std::int64_t>(vectors) * kernel->lanes;
    std::memset(x + in * width, 0, sizeof(float) * static_cast<std::size_t>(width));
    kernel->tile(data.data(), x, y, vectors);
  }
};

// How a batch is cut: what one observation, a tile of one vector and a tile of two
// vectors cost.
struct Costs {
  double one_ns = 0;
  double tile_ns[kMaxTileVectors] = {0, 0};
};

class Network {
 public:
  struct Step {
    PackedLayer one;
    PackedLayer tile;
  };

  Network(int lanes, std::vector<Step> steps, int input_size, int output_size,
          int widest);

  int input_size() const { return input_size_; }
  int output_size() const { return output_size_; }
  int lanes() const { return lanes_; }
  const Costs& costs() const { return costs_; }
  void set_costs(const Costs& costs) { costs_ = costs; }
  const std::vector<Step>& steps() const { return steps_; }
  std::vector<Step>& steps() { return steps_; }

  // Floats that `forward` needs to work in.
  std::size_t workspace_floats() const;

  // rows [batch, in] -> outputs [batch, out]. The same bits for every batch and every
  // cut.
  void forward(const float* rows, std::int64_t batch, float* outputs,
               float* workspace) const;

  void forward_one(const float* row, float* output, float* workspace) const;
  void forward_tile(const float* rows, int count, int vectors, float* outputs,
                    float* workspace) const;

 private:
  // The number of observations to take next out of `left`, and the tile for them; 0
  // vectors: singly.
  int next_cut(std::int64_t left, int* vectors) const;
  std::size_t half_workspace() const;

  int lanes_;
  int input_size_;
  int output_size_;
  int widest_;  // most chains of a layer, or inputs
  std::vector<Step> steps_;
  Costs costs_;
};

}  // namespace sparseagent
