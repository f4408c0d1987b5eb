#include "core/network.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "core/transpose.h"

namespace sparseagent {

PackedLayer::PackedLayer(const Kernel& k, const LayerView& layer, Path p)
    : kernel(&k), path(p), in(layer.in), data(k.packed_bytes(layer, p)) {
  refresh(layer);
}

Network::Network(int lanes, int tile_vectors, int narrow_lanes, std::vector<Step> steps,
                 int input_size, int output_size, int widest)
    : lanes_(lanes),
      narrow_lanes_(narrow_lanes),
      input_size_(input_size),
      output_size_(output_size),
      widest_(widest),
      steps_(std::move(steps)) {
  for (int count = 1; count <= kMaxFew; count *= 2)
    cuts_.push_back({Cut::Kind::few, 0, count});
  if (narrow_lanes > 0) cuts_.push_back({Cut::Kind::narrow, 1, narrow_lanes});
  for (int v = 1; v <= tile_vectors; v *= 2)
    cuts_.push_back({Cut::Kind::tile, v, v * lanes});
}

void Network::set_costs(const std::vector<double>& ns) {
  for (std::size_t i = 0; i < cuts_.size(); ++i) cuts_[i].ns = ns[i];
  const auto per_column = [](const Cut& cut) { return cut.ns / cut.columns; };
  steady_ = &*std::min_element(
      cuts_.begin(), cuts_.end(),
      [&](const Cut& a, const Cut& b) { return per_column(a) < per_column(b); });
  // Twice the widest cut: below that, a mixture may be cheaper than the steady cut.
  const auto room = static_cast<std::size_t>(2 * widest_cut());
  std::vector<double> cost(room + 1, std::numeric_limits<double>::infinity());
  cost[0] = 0;
  next_.assign(room + 1, cuts_.data());
  for (std::size_t left = 1; left <= room; ++left) {
    for (const Cut& cut : cuts_) {
      const auto rest = left - std::min(left, static_cast<std::size_t>(cut.columns));
      if (cut.ns + cost[rest] >= cost[left]) continue;
      cost[left] = cut.ns + cost[rest];
      next_[left] = &cut;
    }
  }
}

std::size_t Network::stride() const {
  const std::size_t floats = static_cast<std::size_t>(widest_) + kWidthPadding;
  return (floats + 15) / 16 * 16;  // whole cache lines
}

std::size_t Network::half_workspace() const {
  const int columns = std::max(cuts_.back().columns, kMaxFew);
  return stride() * static_cast<std::size_t>(columns) + kWidthPadding;
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

void Network::forward_few(const float* rows, int count, int room, float* outputs,
                          float* workspace) const {
  const auto apart = static_cast<std::int64_t>(stride());
  const auto row_bytes = sizeof(float) * static_cast<std::size_t>(input_size_);
  float* x = workspace;
  float* y = workspace + half_workspace();
  for (int n = 0; n < count; ++n)
    std::memcpy(x + n * apart, rows + static_cast<std::int64_t>(n) * input_size_,
                row_bytes);
  for (int n = count; n < room; ++n) std::memset(x + n * apart, 0, row_bytes);
  for (const Step& step : steps_) {
    step.one.few(x, y, apart, room);
    std::swap(x, y);
  }
  for (int n = 0; n < count; ++n) {
    copy_outputs(x + n * apart, output_size_,
                 outputs + static_cast<std::int64_t>(n) * output_size_);
  }
}

void Network::forward_tile(bool narrow, int vectors, const float* rows, int count,
                           float* outputs, float* workspace) const {
  const int width = vectors * (narrow ? narrow_lanes_ : lanes_);
  float* x = workspace;
  float* y = workspace + half_workspace();
  rows_to_tile(rows, count, input_size_, x, width);
  for (const Step& step : steps_) {
    (narrow ? step.narrow : step.tile).tile(x, y, vectors);
    std::swap(x, y);
  }
  tile_to_rows(x, count, output_size_, width, outputs);
}

void Network::forward_cut(const Cut& cut, const float* rows, int count, float* outputs,
                          float* workspace) const {
  if (cut.columns == 1) {
    forward_one(rows, outputs, workspace);
  } else if (cut.kind == Cut::Kind::few) {
    forward_few(rows, count, cut.columns, outputs, workspace);
  } else {
    forward_tile(cut.kind == Cut::Kind::narrow, cut.vectors, rows, count, outputs,
                 workspace);
  }
}

void Network::forward(const float* rows, std::int64_t batch, float* outputs,
                      float* workspace) const {
  if (batch == 1) return forward_one(rows, outputs, workspace);
  const auto known = static_cast<std::int64_t>(next_.size());
  for (std::int64_t done = 0; done < batch;) {
    const std::int64_t left = batch - done;
    const Cut& cut = left < known ? *next_[static_cast<std::size_t>(left)] : *steady_;
    const auto count = static_cast<int>(std::min<std::int64_t>(left, cut.columns));
    forward_cut(cut, rows + done * input_size_, count, outputs + done * output_size_,
                workspace);
    done += count;
  }
}

}  // namespace sparseagent
