// The packed layers of one plan, and the walk of one or several observations through
// all of them.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "core/buffer.h"
#include "core/kernel.h"

namespace sparseagent {

// One layer packed for one kernel on one path. The kernel may want a zero behind each
// observation; it is written there before every run.
struct PackedLayer {
  const Kernel* kernel = nullptr;
  Path path = Path::one;
  std::int64_t in = 0;
  Buffer data;

  PackedLayer() = default;
  PackedLayer(const Kernel& kernel, const LayerView& layer, Path path);
  bool empty() const { return kernel == nullptr; }
  void refresh(const LayerView& layer) { kernel->pack(layer, path, data.data()); }

  void one(float* x, float* y) const {
    x[in] = 0.0f;
    kernel->one(data.data(), x, y);
  }
  void few(float* x, float* y, std::int64_t stride, int count) const {
    for (int n = 0; n < count; ++n) x[n * stride + in] = 0.0f;
    if (kernel->few != nullptr) return kernel->few(data.data(), x, y, stride, count);
    for (int n = 0; n < count; ++n)
      kernel->one(data.data(), x + n * stride, y + n * stride);
  }
  void tile(float* x, float* y, int vectors) const {
    const std::int64_t width = static_cast<std::int64_t>(vectors) * kernel->lanes;
    std::memset(x + in * width, 0, sizeof(float) * static_cast<std::size_t>(width));
    kernel->tile(data.data(), x, y, vectors);
  }
};

// A piece of a batch that goes through the network at once.
struct Cut {
  enum class Kind { few, narrow, tile };
  Kind kind;
  int vectors;  // of a tile; 0 for few
  int columns;  // observations it has room for
  double ns = 0;
};

class Network {
 public:
  // A layer is packed once for one to four observations, once for tiles, and once for
  // the narrow tiles of the ISA with half the lanes, where there is one.
  struct Step {
    PackedLayer one;
    PackedLayer narrow;
    PackedLayer tile;
  };

  // `tile_vectors`: of the widest tile. `narrow_lanes`: of the narrow tiles; 0 for
  // none.
  Network(int lanes, int tile_vectors, int narrow_lanes, std::vector<Step> steps,
          int input_size, int output_size, int widest);

  int input_size() const { return input_size_; }
  int output_size() const { return output_size_; }
  int lanes() const { return lanes_; }
  const std::vector<Step>& steps() const { return steps_; }
  std::vector<Step>& steps() { return steps_; }

  // The cuts there are, narrowest first; the first is a single observation.
  const std::vector<Cut>& cuts() const { return cuts_; }
  int widest_cut() const { return cuts_.back().columns; }
  // What each of them costs; decides how batches are cut.
  void set_costs(const std::vector<double>& ns);

  // Floats that `forward` needs to work in.
  std::size_t workspace_floats() const;

  // rows [batch, in] -> outputs [batch, out]. The same bits for every batch and every
  // cut.
  void forward(const float* rows, std::int64_t batch, float* outputs,
               float* workspace) const;

  // One piece of `count` observations, at most cut.columns.
  void forward_cut(const Cut& cut, const float* rows, int count, float* outputs,
                   float* workspace) const;

 private:
  void forward_one(const float* row, float* output, float* workspace) const;
  void forward_few(const float* rows, int count, int room, float* outputs,
                   float* workspace) const;
  void forward_tile(bool narrow, int vectors, const float* rows, int count,
                    float* outputs, float* workspace) const;
  std::size_t stride() const;
  std::size_t half_workspace() const;

  int lanes_;
  int narrow_lanes_;
  int input_size_;
  int output_size_;
  int widest_;  // most chains of a layer, or inputs
  std::vector<Step> steps_;
  std::vector<Cut> cuts_;
  // The cut to take next when so many observations are left: the first of the cheapest
  // cover. When more are left than it has room for, the cheapest cut per observation.
  std::vector<const Cut*> next_;
  const Cut* steady_ = nullptr;
};

}  // namespace sparseagent
