// The interface between the plan and the kernels: plain functions over packed, constant
// data.
//
// A kernel file describes one format and is compiled once per instruction set; each
// object exports one Kernel. Kernels check nothing (the Plan constructor did), allocate
// nothing and throw nothing.
#pragma once

#include <cstddef>

#include "core/head.h"
#include "core/layer.h"
#include "core/op.h"

namespace sparseagent {

// How a layer is run: one observation at a time, or a tile of observations,
// feature-major.
enum class Path { one, tile };

// How many observations go through a layer at a time, outside of tiles, besides one.
constexpr int kFewColumns[] = {2, 4};

// How many of the widest tiles go through a layer one after the other, where its
// weights are too many to stay in a cache until the next tile comes.
constexpr int kTilesTogether = 4;

// Buffers of activations are padded so that a kernel may write whole vectors and
// register tiles.
constexpr std::size_t kWidthPadding = 64;

// The observations of one call: side by side in tiles, tile behind tile, or one behind
// the other.
struct Batch {
  Path path;
  int columns;  // observations: 1, one of kFewColumns, or those of all tiles
  int vectors;  // of one tile
  int tiles;    // at most kTilesTogether
  long stride;  // floats from one observation, or from one tile, to the next
  float* scratch = nullptr;  // of convolutions: scratch_floats() (core/scratch.h)
};

// ns for each weight of one observation on 16 lanes: one by one, a few side by side, in
// a tile. 0 for a path that the kernel does not have. What crossovers suggest, for
// plans that are not timed.
struct Rates {
  double one;
  double few;
  double tile;
};

struct Kernel {
  const char* format;  // "dense", "csr", ...
  int lanes;           // columns of a one-vector tile
  int tile_vectors;    // of the widest tile: 1, 2 or 4
  Rates rates;

  // Multiplies by absent weights too: its time depends on the shape alone.
  bool every_weight;
  // Packs a layer for tiles into the same bytes on every instruction set: tiles of the
  // narrower one then share them.
  bool shares_tiles;
  // Of several tiles each block of weights does its work in all of them while it is in
  // a cache.
  bool shares_weights;
  // What a layer must be like for the kernel to follow it, for messages; empty if it
  // follows any.
  const char* needs;

  // Weights that `rates` count: those of lanes that wait are among them.
  double (*work)(const LayerView& layer, Path path);

  // Bytes of the packed layer; 0 if this kernel cannot follow the layer's order. Only
  // asked for paths that it has.
  std::size_t (*packed_bytes)(const LayerView& layer, Path path);

  // Fill `packed`, 64-byte aligned, packed_bytes() long, every byte of it: equal layers
  // pack to equal bytes. Weights and biases are copied, never computed with, to places
  // that are multiples of 4 bytes and depend on the structure alone: so the plan can
  // find the places and refresh them (core/scatter.h).
  void (*pack)(const LayerView& layer, Path path, void* packed);

  // y = layer(x) for all observations of the batch. One behind the other: x [in] and a
  // zero behind it, which absent weights may be multiplied by; y [chains], room for
  // kWidthPadding more floats behind y. A tile: x [in, width] and a row of zeros, y
  // [chains, width], width = vectors * lanes.
  void (*run)(const void* packed, const Batch& batch, const float* x, float* y);

  // For convolutions, and for nothing else: x [image], y [out, pixels].
  bool slides = false;
};

inline bool has_path(const Kernel& kernel, Path path) {
  return (path == Path::one ? kernel.rates.one : kernel.rates.tile) > 0;
}

// An observation step of `size` numbers, each with a shift and a scale of its own.
struct Normaliser {
  int size;
  const double* shift;
  const double* scale;
  double low;
  double high;
  bool single;  // in float, not in double
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

  // One row of observations, float or, if `wide`, double, in the caller's memory: z =
  // float(clip((x - shift) / scale, low, high)).
  void (*normalise)(const Normaliser& step, const void* x, bool wide, float* z);
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
  const HeadKernel* heads;
};

}  // namespace sparseagent
