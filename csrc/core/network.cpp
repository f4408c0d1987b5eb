#include "core/network.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/transpose.h"

namespace sparseagent {
namespace {

constexpr std::int64_t kAlign = 16;  // floats of a cache line

// Activations of one layer stay near the second cache: widths of up to 8128 leave room
// for the 128 columns of the widest regime.
constexpr std::int64_t kMostFloats = 1 << 20;

std::int64_t round_up(std::int64_t n, std::int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

// Timing finds the weights in a cache. Those of a large network come from memory where
// others use the cache too, once for every cut of a batch: a cut costs so many ns more
// for each byte of them. Several tiles at a time ask for a layer's weights less often
// still: timing finds them 1 to 3 % slower, beside busy neighbours they are up to 1.9
// times as fast. Where nothing is shared they must be clearly quicker.
constexpr std::size_t kManyBytes = 1 << 20;
constexpr double kByte = 0.005;
constexpr double kTogether = 0.85;
constexpr double kApart = 1.02;

double worth_ns(const Regime& regime, const Layers& layers, double ns) {
  std::size_t bytes = 0;
  bool shares = false;
  for (const PackedLayer* layer : layers) {
    bytes += layer->bytes;
    shares |= layer->kernel->tiles != nullptr;
  }
  const bool many = bytes > kManyBytes;
  if (regime.tiles > 1) ns *= shares && many ? kTogether : kApart;
  return many ? ns + kByte * static_cast<double>(bytes) : ns;
}

}  // namespace

std::int64_t Extent::stride() const {
  return round_up(widest + static_cast<std::int64_t>(kWidthPadding), kAlign);
}

std::size_t Extent::half_workspace() const {
  return static_cast<std::size_t>(
      round_up(stride() * columns + static_cast<std::int64_t>(kWidthPadding), kAlign));
}

Extent extent_of(const std::vector<LayerView>& layers,
                 const std::vector<Regime>& regimes) {
  Extent extent = {layers.front().in, layers.back().out, 0, 0};
  for (const LayerView& layer : layers) {
    extent.widest = std::max({extent.widest, layer.in, layer.chains()});
  }
  for (const Regime& regime : regimes) {
    extent.columns = std::max(extent.columns, regime.columns);
  }
  return extent;
}

std::vector<Regime> regimes_with_room(const std::vector<LayerView>& layers,
                                      const std::vector<Regime>& all) {
  const std::int64_t stride = extent_of(layers, all).stride();
  std::vector<Regime> regimes;
  for (const Regime& regime : all) {
    const bool fits = stride * regime.columns <= kMostFloats;
    if (fits || regime.columns == 1) regimes.push_back(regime);
  }
  return regimes;
}

void walk(const Extent& extent, const Layers& layers, const Regime& regime,
          std::int32_t count, const float* rows, float* outputs, float* workspace) {
  const std::int64_t stride = extent.stride();
  const std::int64_t in = extent.input_size;
  const std::int64_t out = extent.output_size;
  float* x = workspace;
  float* y = workspace + extent.half_workspace();
  const std::int32_t width = regime.width();
  // Observations in tile t, none in those at the end that are not needed.
  const auto filled = [&](int t) { return std::clamp(count - t * width, 0, width); };
  if (regime.path == Path::tile) {
    for (int t = 0; t < regime.tiles; ++t) {
      rows_to_tile(rows + t * width * in, filled(t), extent.input_size,
                   x + t * width * stride, width);
    }
  } else {
    for (std::int32_t i = 0; i < count; ++i) {
      std::memcpy(x + i * stride, rows + i * in, sizeof(float) * in);
    }
  }
  for (const PackedLayer* layer : layers) {
    layer->run(regime, x, y, stride);
    std::swap(x, y);
  }
  if (regime.path == Path::tile) {
    for (int t = 0; t < regime.tiles; ++t) {
      tile_to_rows(x + t * width * stride, filled(t), extent.output_size, width,
                   outputs + t * width * out);
    }
  } else {
    for (std::int32_t i = 0; i < count; ++i) {
      copy_outputs(x + i * stride, extent.output_size, outputs + i * out);
    }
  }
}

Network::Network(std::vector<Regime> regimes, const Extent& extent,
                 std::vector<Step> steps, std::vector<double> ns)
    : regimes_(std::move(regimes)),
      extent_(extent),
      steps_(std::move(steps)),
      layers_(regimes_.size()),
      ns_(std::move(ns)) {
  std::vector<double> worth;
  for (std::size_t r = 0; r < regimes_.size(); ++r) {
    for (const Step& step : steps_) layers_[r].push_back(step.packed[r].get());
    worth.push_back(worth_ns(regimes_[r], layers_[r], ns_[r]));
  }
  cover_ = Cover(regimes_, worth);
}

}  // namespace sparseagent
