#include "core/network.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/transpose.h"

namespace sparseagent {

PackedLayer::PackedLayer(const Kernel& k, const LayerView& layer, Path path)
    : kernel(&k), in(layer.in), data(k.packed_bytes(layer, path)) {
  refresh(layer, path);
}

Network::Network(int lanes, std::vector<Step> steps, int input_size, int output_size,
                 int widest)
    : lanes_(lanes),
      input_size_(input_size),
      output_size_(output_size),
      widest_(widest),
      steps_(std::move(steps)) {}

std::size_t Network::half_workspace() const {
  const auto width = static_cast<std::size_t>(kMaxTileVectors * lanes_);
  return (static_cast<std::size_t>(widest_) + kWidthPadding) * width + kWidthPadding;
}

std::size_t Network::workspace_floats() const { return 2 * half_workspace(); }

void Network::forward_one(const float* row, float* output, float* workspace) const {
  float* x = workspace;
  float* y = workspace + half_workspace();
  std::memcpy(x, row, sizeof(float) * static_cast<std::size_t>(input_size_));
  for (const Step& step : steps_) {
    step.one.one(x, y);
    std::swap(x, y);
  }
  copy_outputs(x, output_size_, output);
}

void Network::forward_tile(const float* rows, int count, int vectors, float* outputs,
                           float* workspace) const {
  const int width = vectors * lanes_;
  float* x = workspace;
  float* y = workspace + half_workspace();
  rows_to_tile(rows, count, input_size_, x, width);
  for (const Step& step : steps_) {
    step.tile.tile(x, y, vectors);
    std::swap(x, y);
  }
  tile_to_rows(x, count, output_size_, width, outputs);
}

int Network::next_cut(std::int64_t left, int* vectors) const {
  // Per observation the wider tile is at least as cheap when full, unless its working
  // set has left the cache; what remains goes to the cheapest cover.
  double best = static_cast<double>(left) * costs_.one_ns;
  *vectors = 0;
  for (int v = 1; v <= kMaxTileVectors; ++v) {
    const std::int64_t width = static_cast<std::int64_t>(v) * lanes_;
    const std::int64_t tiles = (left + width - 1) / width;
    const double cost = static_cast<double>(tiles) * costs_.tile_ns[v - 1];
    if (cost < best) {
      best = cost;
      *vectors = v;
    }
  }
  const std::int64_t take =
      *vectors == 0 ? 1 : std::min<std::int64_t>(left, *vectors * lanes_);
  return static_cast<int>(take);
}

void Network::forward(const float* rows, std::int64_t batch, float* outputs,
                      float* workspace) const {
  for (std::int64_t done = 0; done < batch;) {
    const float* from = rows + done * input_size_;
    float* to = outputs + done * output_size_;
    int vectors = 0;
    const int count = batch == 1 ? 1 : next_cut(batch - done, &vectors);
    if (vectors == 0) {
      forward_one(from, to, workspace);
    } else {
      forward_tile(from, count, vectors, to, workspace);
    }
    done += count;
  }
}

}  // namespace sparseagent
