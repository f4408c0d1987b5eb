// What convolutions work in, besides their inputs and outputs.
#pragma once

#include "core/planes.h"
#include "core/regime.h"

namespace sparseagent {

// One observation: its planes, where the image is not its own; a tile: the image with
// its padding, where it has any.
inline std::int64_t scratch_floats(const LayerView& layer, const Regime& regime) {
  if (layer.window == nullptr) return 0;
  const Window& w = *layer.window;
  const auto room = static_cast<std::int64_t>(kWidthPadding);
  if (regime.path == Path::tile) {
    const std::int64_t padded = std::int64_t{w.padded_height()} * w.padded_width();
    return w.pads() ? padded * w.channels * regime.width() + room : 0;
  }
  const Planes planes(w);
  return planes.direct ? 0 : planes.floats(w) + room;
}

}  // namespace sparseagent
