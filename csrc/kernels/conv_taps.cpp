// taps: a sparse convolution, one output channel at a time.
//
// Wins wherever channels share few of their taps; see conv_image.h for how it walks.
#include "core/kernel.h"

extern "C" const sparseagent::Kernel SPARSEAGENT_SYMBOL;

namespace {

constexpr int kRows = 1;

}  // namespace

#include "kernels/conv_image.h"

namespace {

std::size_t packed_bytes(const LayerView& layer, Path path) {
  if (layer.window == nullptr) return 0;
  const Header h = header_of(layer, path, layer.nnz());
  Parts<const std::int32_t, const float> parts = {};
  return 4 * static_cast<std::size_t>(
                 open_parts(h, static_cast<const std::int32_t*>(nullptr), &parts));
}

void pack(const LayerView& layer, Path path, void* packed) {
  const Header h = header_of(layer, path, layer.nnz());
  __builtin_memcpy(packed, &h, sizeof h);
  Parts<std::int32_t, float> parts = {};
  open_parts(h, static_cast<std::int32_t*>(packed), &parts);
  for (int r = 0; r < layer.out; ++r) {
    parts.count[r] = layer.indptr[r + 1] - layer.indptr[r];
    parts.bias[r] = layer.bias[r];
  }
  for (int k = 0; k < layer.nnz(); ++k) {
    parts.offset[k] = offset_of(*layer.window, path, layer.indices[k]);
    parts.weight[k] = layer.values[k];
  }
}

void image(const void* packed, const float* x, float* y, float* scratch, int vectors) {
  image_of(open(packed), x, y, scratch, vectors);
}

void run(const void* packed, const Batch& batch, const float* x, float* y) {
  each_image(batch, x, y, [&](const float* from, float* to, int vectors) {
    image(packed, from, to, batch.scratch, vectors);
  });
}

double work(const LayerView& layer, Path) {
  return static_cast<double>(layer.nnz()) * layer.window->pixels();
}

}  // namespace

const sparseagent::Kernel SPARSEAGENT_SYMBOL = {
    "taps", kLanes, kTileVectors, {0.025, 0.025, 0.022}, false, false,
    false,  "",     work,         packed_bytes,          pack,  run,
    true};
