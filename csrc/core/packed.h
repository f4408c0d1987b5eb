// One layer packed for one kernel on one path.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "core/buffer.h"
#include "core/regime.h"

namespace sparseagent {

struct PackedLayer {
  const Kernel* kernel;
  Path path;
  std::int64_t in;  // features of what it reads
  std::size_t bytes;
  std::shared_ptr<void> data;

  PackedLayer(const Kernel& k, const LayerView& layer, Path p)
      : kernel(&k), path(p), in(layer.features()), bytes(k.packed_bytes(layer, p)) {
    const auto buffer = std::make_shared<Buffer>(bytes);
    data = {buffer, buffer->data()};
    k.pack(layer, p, buffer->data());
  }

  // The same bytes for the kernel of another instruction set; see
  // Kernel::shares_tiles.
  PackedLayer(const Kernel& k, const PackedLayer& other) : PackedLayer(other) {
    kernel = &k;
  }

  // y = layer(x) for the regime's observations: in a tile side by side, tile behind
  // tile; else one behind the other. `stride` is the floats of one observation. The
  // zeros that a kernel may want are written behind x; `scratch` is for convolutions.
  void run(const Regime& regime, float* x, float* y, std::int64_t stride,
           float* scratch) const {
    if (kernel->image != nullptr) return slide(regime, x, y, stride, scratch);
    if (regime.path == Path::tile) {
      const std::int64_t width = regime.width();
      const std::int64_t next = stride * width;
      for (int t = 0; t < regime.tiles; ++t) {
        std::memset(x + t * next + in * width, 0,
                    sizeof(float) * static_cast<std::size_t>(width));
      }
      if (regime.tiles > 1 && kernel->tiles != nullptr) {
        kernel->tiles(data.get(), x, y, regime.vectors, regime.tiles, next);
        return;
      }
      for (int t = 0; t < regime.tiles; ++t)
        kernel->tile(data.get(), x + t * next, y + t * next, regime.vectors);
      return;
    }
    for (int i = 0; i < regime.columns; ++i) x[i * stride + in] = 0.0f;
    if (regime.columns > 1 && kernel->few != nullptr) {
      kernel->few(data.get(), x, y, stride, regime.columns);
      return;
    }
    for (int i = 0; i < regime.columns; ++i) {
      kernel->one(data.get(), x + i * stride, y + i * stride);
    }
  }

 private:
  void slide(const Regime& regime, const float* x, float* y, std::int64_t stride,
             float* scratch) const {
    const bool tile = regime.path == Path::tile;
    const std::int64_t next = tile ? stride * regime.width() : stride;
    for (int i = 0; i < (tile ? regime.tiles : regime.columns); ++i) {
      kernel->image(data.get(), x + i * next, y + i * next, scratch, regime.vectors);
    }
  }
};

}  // namespace sparseagent
