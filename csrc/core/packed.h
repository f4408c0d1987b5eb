// One layer packed for one kernel on one path.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/buffer.h"
#include "core/kernel.h"

namespace sparseagent {

struct PackedLayer {
  const Kernel* kernel;
  Path path;
  std::size_t bytes;
  std::shared_ptr<void> data;

  PackedLayer(const Kernel& k, const LayerView& layer, Path p)
      : kernel(&k), path(p), bytes(k.packed_bytes(layer, p)) {
    const auto buffer = std::make_shared<Buffer>(bytes);
    data = {buffer, buffer->data()};
    k.pack(layer, p, buffer->data());
  }

  // The same bytes for the kernel of another instruction set; see
  // Kernel::shares_tiles.
  PackedLayer(const Kernel& k, const PackedLayer& other) : PackedLayer(other) {
    kernel = &k;
  }
};

using Layers = std::vector<const PackedLayer*>;

}  // namespace sparseagent
