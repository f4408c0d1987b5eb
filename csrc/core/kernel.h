// The interface between the plan and the kernels: plain functions over packed, constant
// data.
//
// A kernel file describes one format and is compiled once per instruction set; each
// object exports one Kernel. Kernels check nothing (the Plan constructor did), allocate
// nothing and throw nothing.
#pragma once

#include <cstddef>

#include "core/layer.h"
#include "core/op.h"

namespace sparseagent {

// How a layer is run: one observation at a time, or a tile of observations,
// feature-major.
enum class Path { one, tile };

// How many observations go through `few` at a time.
constexpr int kFewColumns[] = {2, 4};

// How many of the widest tiles go through a layer one after the other, where its
// weights are too many to stay in a cache until the next tile comes.
constexpr int kTilesTogether = 4;

// Buffers of activations are padded so that a kernel may write whole vectors and
// register tiles.
constexpr std::size_t kWidthPadding = 64;

struct Kernel {
  const char* format;  // "dense", "csr", ...
  int lanes;           // columns of a one-vector tile
  int tile_vectors;    // of the widest tile: 1, 2 or 4
  bool has_one;        // which paths it has at all
  bool has_tile;
  // Whether it packs a layer for tiles into the same bytes on every instruction set:
  // tiles of the narrower one then share them.
  bool shares_tiles;

  // Bytes of the packed layer; 0 if this kernel cannot follow the layer's order. Only
  // asked for paths that it has.
  std::size_t (*packed_bytes)(const LayerView& layer, Path path);

  // Fill `packed`, 64-byte aligned, packed_bytes() long, every byte of it: equal layers
  // pack to equal bytes. Weights and biases are copied, never computed with, to places
  // that are multiples of 4 bytes and depend on the structure alone: so the plan can
  // find the places and refresh them (core/scatter.h).
  void (*pack)(const LayerView& layer, Path path, void* packed);

  // y = layer(x): x [in] and a zero behind it, which absent weights may be multiplied
  // by; y [chains], room for kWidthPadding more floats behind y.
  void (*one)(const void* packed, const float* x, float* y);

  // The same for 2 or 4 observations, `stride` floats apart in x and in y; null where
  // there is nothing to share between them.
  void (*few)(const void* packed, const float* x, float* y, long stride, int count);

  // The same for `vectors` * lanes observations: x [in, width] and a row of zeros, y
  // [chains, width].
  void (*tile)(const void* packed, const float* x, float* y, int vectors);

  // The same for `count` tiles, at most kTilesTogether, `stride` floats apart in x and
  // in y; null where there is nothing to share between them.
  void (*tiles)(const void* packed, const float* x, float* y, int vectors, int count,
                long stride);

  // Of kernels for convolutions, instead of those four, which are null: one observation
  // where `vectors` is 0, else a tile of vectors * lanes. x [image], y [out, pixels],
  // `scratch` has scratch_floats() floats (core/scratch.h).
  void (*image)(const void* packed, const float* x, float* y, float* scratch,
                int vectors) = nullptr;
};

// Between the caller's row-major batches and the feature-major tiles of the kernels.
// Outputs are made canonical: a NaN becomes the one quiet NaN with no payload, because
// machines differ in which one they make.
struct Transposes {
  // rows [count, size] -> tile [size, width], columns from `count` on are 0. width: a
  // multiple of the lanes; count <= width.
  void (*rows_to_tile)(const float* rows, int count, int size, float* tile, int width);

  // tile [size, width] -> rows [count, size].
  void (*tile_to_rows)(const float* tile, int count, int size, int width, float* rows);

  // The same for one observation.
  void (*copy_outputs)(const float* y, int size, float* out);
};

// One instruction set: what the CPU must have, and what was compiled for it. Those of
// one name follow each other, from plainest to fastest.
struct Isa {
  const char* name;
  const char* needs;  // CPU features, separated by spaces; see cpu.h
  const Kernel* const* kernels;
  int kernel_count;
  const OpKernel* const* ops;  // every kind but linear and observe
  int op_count;
  // Runs `iterations` x 12 independent vector FMAs; returns something that depends on
  // all of them.
  float (*fma_loop)(long iterations);
  const Transposes* transposes;
};

}  // namespace sparseagent
