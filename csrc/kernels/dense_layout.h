// How the dense format lays a layer down, for one observation and for tiles.
#pragma once

#include "core/kernel.h"
#include "simd/layout.h"
#include "simd/vec.h"

namespace {

using sparseagent::Activation;
using sparseagent::LayerView;
using sparseagent::Path;

constexpr int kChunk = 256;  // columns whose nonzero activations are listed at a time
constexpr int kBlockVectors = 8;  // vectors of rows in a block

struct Header {
  int out;
  int in;
  int padded;  // rows, rounded up to whole vectors
  bool relu;
  bool masked;  // some weights are absent
  Activation activation;
  float alpha;
  long bias;  // byte offsets from the header
  long weight;
  long structure;  // one bit per weight, row-major; only if masked
};

Header layout(const LayerView& layer, Path path, long* bytes) {
  Header h = blank<Header>();
  h.out = layer.out;
  h.in = layer.in;
  h.padded = static_cast<int>(round_up(layer.out, kLanes));
  h.relu = layer.activation == Activation::relu;
  h.masked = !layer.full();
  h.activation = layer.activation;
  h.alpha = layer.alpha;
  const long rows = path == Path::one ? h.padded : layer.out;
  h.bias = round_up(sizeof(Header), 64);
  h.weight = h.bias + round_up(4 * rows, 64);
  h.structure = h.weight + round_up(4 * rows * layer.in, 64);
  *bytes = h.structure;
  if (h.masked)
    *bytes += round_up((static_cast<long>(layer.out) * layer.in + 7) / 8, 64);
  return h;
}

bool follows(const LayerView& layer) {
  if (layer.runs != 1) return false;
  for (int r = 0; r < layer.out; ++r) {
    for (int k = layer.indptr[r] + 1; k < layer.indptr[r + 1]; ++k) {
      if (layer.indices[k - 1] >= layer.indices[k]) return false;
    }
  }
  return true;
}

std::size_t packed_bytes(const LayerView& layer, Path path) {
  long bytes = 0;
  layout(layer, path, &bytes);
  return follows(layer) ? static_cast<std::size_t>(bytes) : 0;
}

// Where weight (row, column) lies in the stream of the one-observation path.
inline long place_one(const Header& h, int row, int column) {
  const int chunk = column / kChunk;
  const int columns = h.in - chunk * kChunk < kChunk ? h.in - chunk * kChunk : kChunk;
  const int block = row / (kBlockVectors * kLanes);
  const int first = block * kBlockVectors * kLanes;
  const int height = h.padded - first < kBlockVectors * kLanes ? h.padded - first
                                                               : kBlockVectors * kLanes;
  return static_cast<long>(chunk) * kChunk * h.padded +
         static_cast<long>(first) * columns +
         static_cast<long>(column - chunk * kChunk) * height + (row - first);
}

inline long place_tile(const Header& h, int row, int column) {
  const int first = row / kTileRows * kTileRows;
  const int height = h.out - first < kTileRows ? h.out - first : kTileRows;
  return static_cast<long>(first) * h.in + static_cast<long>(column) * height +
         (row - first);
}

void pack(const LayerView& layer, Path path, void* packed) {
  long bytes = 0;
  const Header h = layout(layer, path, &bytes);
  char* base = static_cast<char*>(packed);
  __builtin_memset(base, 0, static_cast<std::size_t>(bytes));
  __builtin_memcpy(base, &h, sizeof h);
  float* weight = reinterpret_cast<float*>(base + h.weight);
  unsigned char* structure = reinterpret_cast<unsigned char*>(base + h.structure);
  __builtin_memcpy(base + h.bias, layer.bias, 4 * static_cast<std::size_t>(layer.out));
  for (int r = 0; r < layer.out; ++r) {
    for (int k = layer.indptr[r]; k < layer.indptr[r + 1]; ++k) {
      const int c = layer.indices[k];
      weight[path == Path::one ? place_one(h, r, c) : place_tile(h, r, c)] =
          layer.values[k];
      const long bit = static_cast<long>(r) * layer.in + c;
      if (h.masked) structure[bit / 8] |= static_cast<unsigned char>(1 << bit % 8);
    }
  }
}

struct Packed {
  const Header& h;
  const float* bias;
  const float* weight;
  const unsigned char* structure;

  bool present(int row, int column) const {
    const long bit = static_cast<long>(row) * h.in + column;
    return !h.masked || ((structure[bit / 8] >> bit % 8) & 1);
  }
};

inline Packed open(const void* packed) {
  const char* base = static_cast<const char*>(packed);
  const Header& h = *reinterpret_cast<const Header*>(base);
  return {h, reinterpret_cast<const float*>(base + h.bias),
          reinterpret_cast<const float*>(base + h.weight),
          reinterpret_cast<const unsigned char*>(base + h.structure)};
}

}  // namespace
