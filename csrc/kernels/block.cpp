// block: rows that come in groups with the same columns, as masks of 16x1 or 4x1 blocks
// leave them.
//
//   one   a block is kLanes rows side by side in a vector; four blocks, sorted by
//         length, are walked in lockstep
//           step: [o0 o1 o2 o3] [w block 0 .. w block 3]
//         A weight vector meets one input, spread over the lanes: no lookup at all.
//   tile  a block is four rows; their inputs are the same, so a vector of observations
//         is loaded once for four fused multiply-adds
//           step: [o] [w0 w1 w2 w3]
//
// Fast because the index and the input are paid once for a whole block. A block that
// has ended points to the zero behind the inputs. It cannot follow masks or orders that
// differ within a block, and loses to nothing where it can; dense overtakes it where
// hardly a block is absent.
#include <cstdint>

#include "core/kernel.h"
#include "simd/activation.h"
#include "simd/chains.h"
#include "simd/layout.h"

extern "C" const sparseagent::Kernel SPARSEAGENT_SYMBOL;

namespace {

using sparseagent::Batch;
using sparseagent::Kernel;
using sparseagent::LayerView;
using sparseagent::Path;

constexpr int kTogether = 4;   // blocks in lockstep on the path of one observation
constexpr int kTileBlock = 4;  // rows of a block on the path of a tile

struct Header {
  int out;
  int blocks;
  bool relu;
  Activation activation;
  float alpha;
  long groups;  // byte offsets from the header
  long weights;
  long offsets;
};

// One observation: blocks in lockstep. A tile: a single block.
struct Group {
  int row[kTogether];  // first row of each block
  int blocks;
  int steps;
};

inline int rows_of(Path path) { return path == Path::one ? kLanes : kTileBlock; }

inline int blocks_per_group(Path path) { return path == Path::one ? kTogether : 1; }

// Whether `rows` neighbours, from every multiple of `rows` on, store the same columns
// in the same order.
bool in_blocks(const LayerView& layer, int rows) {
  for (int r = 0; r < layer.out; ++r) {
    const int first = r / rows * rows;
    const int length = chain_length(layer, r);
    if (length != chain_length(layer, first)) return false;
    for (int k = 0; k < length; ++k) {
      if (layer.indices[layer.indptr[r] + k] != layer.indices[layer.indptr[first] + k])
        return false;
    }
  }
  return true;
}

// visit(place, first row) for the blocks by falling length.
template <typename Visit>
void blocks_by_falling_length(const LayerView& layer, int rows, Visit visit) {
  int place = 0;
  by_falling_length(layer, [&](int, int row) {
    if (row % rows == 0) visit(place++, row);
  });
}

Header layout(const LayerView& layer, Path path, long* bytes) {
  const int rows = rows_of(path);
  const int together = blocks_per_group(path);
  Header h = blank<Header>();
  h.out = layer.out;
  h.blocks = (layer.out + rows - 1) / rows;
  h.relu = layer.activation == Activation::relu;
  h.activation = layer.activation;
  h.alpha = layer.alpha;
  long entries = 0;  // of all blocks, padding included
  int steps = 0;
  blocks_by_falling_length(layer, rows, [&](int place, int row) {
    if (place % together == 0) steps = chain_length(layer, row);
    entries += steps;
  });
  const long groups = (h.blocks + together - 1) / together;
  h.groups = round_up(sizeof(Header), 64) + round_up(4L * h.blocks * rows, 64);
  h.weights = h.groups + round_up(groups * static_cast<long>(sizeof(Group)), 64);
  h.offsets = h.weights + round_up(4L * rows * entries, 64);
  // A step's offsets are read four at a time.
  *bytes = h.offsets + round_up(2 * entries + 8, 64);
  return h;
}

std::size_t packed_bytes(const LayerView& layer, Path path) {
  if (layer.runs != 1 || layer.in >= 1 << 16 || !in_blocks(layer, rows_of(path)))
    return 0;
  long bytes = 0;
  layout(layer, path, &bytes);
  return static_cast<std::size_t>(bytes);
}

struct Packed {
  const Header& h;
  const float* bias;  // [blocks * rows]
  const Group* groups;
  const float* weights;
  const std::uint16_t* offsets;
};

inline Packed open(const void* packed) {
  const char* base = static_cast<const char*>(packed);
  const Header& h = *reinterpret_cast<const Header*>(base);
  return {h, reinterpret_cast<const float*>(base + round_up(sizeof(Header), 64)),
          reinterpret_cast<const Group*>(base + h.groups),
          reinterpret_cast<const float*>(base + h.weights),
          reinterpret_cast<const std::uint16_t*>(base + h.offsets)};
}

void pack(const LayerView& layer, Path path, void* packed) {
  long bytes = 0;
  const Header h = layout(layer, path, &bytes);
  const int rows = rows_of(path);
  const int together = blocks_per_group(path);
  char* base = static_cast<char*>(packed);
  __builtin_memset(base, 0, static_cast<std::size_t>(bytes));
  __builtin_memcpy(base, &h, sizeof h);
  const Packed p = open(packed);
  __builtin_memcpy(const_cast<float*>(p.bias), layer.bias,
                   4 * static_cast<std::size_t>(layer.out));
  Group* groups = const_cast<Group*>(p.groups);
  blocks_by_falling_length(layer, rows, [&](int place, int row) {
    Group& group = groups[place / together];
    if (place % together == 0) group.steps = chain_length(layer, row);
    group.row[group.blocks++] = row;
  });
  float* weight = const_cast<float*>(p.weights);
  std::uint16_t* offset = const_cast<std::uint16_t*>(p.offsets);
  for (const Group* g = groups; g < groups + (h.blocks + together - 1) / together;
       ++g) {
    for (int k = 0; k < g->steps; ++k) {
      for (int i = 0; i < g->blocks; ++i) {
        const int first = g->row[i];
        const bool there = k < chain_length(layer, first);
        *offset++ = static_cast<std::uint16_t>(
            there ? layer.indices[layer.indptr[first] + k] : layer.in);
        for (int r = first; r < first + rows; ++r) {
          *weight++ = there && r < layer.out ? layer.values[layer.indptr[r] + k] : 0.0f;
        }
      }
    }
  }
}

// ---- one observation
// ----------------------------------------------------------------------------

template <int B>
void one_group(const Packed& p, const Group& group, const float* weight,
               const std::uint16_t* offset, const float* x, float* y) {
  vec acc[B];
#pragma GCC unroll 4
  for (int i = 0; i < B; ++i) acc[i] = load(p.bias + group.row[i]);
  for (int k = 0; k < group.steps; ++k) {
    std::uint64_t offsets;
    __builtin_memcpy(&offsets, offset, sizeof offsets);
#pragma GCC unroll 4
    for (int i = 0; i < B; ++i) {
      const vec input = splat(x[(offsets >> (16 * i)) & 0xffff]);
      acc[i] = fma(load(weight + i * kLanes), input, acc[i]);
    }
    weight += B * kLanes;
    offset += B;
  }
#pragma GCC unroll 4
  for (int i = 0; i < B; ++i) store(y + group.row[i], finish(p.h.relu, acc[i]));
}

void one(const void* packed, const float* x, float* y) {
  const Packed p = open(packed);
  const Header& h = p.h;
  const float* weight = p.weights;
  const std::uint16_t* offset = p.offsets;
  for (const Group* g = p.groups; g < p.groups + (h.blocks + kTogether - 1) / kTogether;
       ++g) {
    switch (g->blocks) {
      case 1: one_group<1>(p, *g, weight, offset, x, y); break;
      case 2: one_group<2>(p, *g, weight, offset, x, y); break;
      case 3: one_group<3>(p, *g, weight, offset, x, y); break;
      default: one_group<4>(p, *g, weight, offset, x, y); break;
    }
    weight += static_cast<long>(g->steps) * g->blocks * kLanes;
    offset += static_cast<long>(g->steps) * g->blocks;
  }
  if (!in_register(h.activation))
    activate(h.activation, h.alpha, y, round_up(h.out, kLanes));
}

// ---- a tile of observations
// ---------------------------------------------------------------------

// R rows of a block from row F on: as many as there are registers for.
template <int V, int R>
inline void rows_of_block(const Packed& p, const float* weight,
                          const std::uint16_t* offset, int steps, int row, int first,
                          const float* x, float* y) {
  constexpr long width = V * kLanes;
  vec acc[R][V];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) acc[r][v] = splat(p.bias[row + first + r]);
  }
  for (int k = 0; k < steps; ++k) {
    const float* from = x + offset[k] * width;
    vec input[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) input[v] = load(from + v * kLanes);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const vec w = splat(weight[k * kTileBlock + first + r]);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) acc[r][v] = fma(w, input[v], acc[r][v]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    if (row + first + r >= p.h.out) break;
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      store(y + (row + first + r) * width + v * kLanes, finish(p.h.relu, acc[r][v]));
    }
  }
}

template <int V>
void tile_of(const Packed& p, const float* x, float* y) {
  const Header& h = p.h;
  const float* weight = p.weights;
  const std::uint16_t* offset = p.offsets;
  for (const Group* g = p.groups; g < p.groups + h.blocks; ++g) {
    const int row = g->row[0];
    if constexpr (V <= 2 || kManyRegisters) {
      rows_of_block<V, 4>(p, weight, offset, g->steps, row, 0, x, y);
    } else {
      rows_of_block<V, 2>(p, weight, offset, g->steps, row, 0, x, y);
      rows_of_block<V, 2>(p, weight, offset, g->steps, row, 2, x, y);
    }
    weight += static_cast<long>(kTileBlock) * g->steps;
    offset += g->steps;
  }
  if (!in_register(h.activation))
    activate(h.activation, h.alpha, y, static_cast<long>(h.out) * V * kLanes);
}

void tile(const void* packed, const float* x, float* y, int vectors) {
  const Packed p = open(packed);
  if (vectors == 1) return tile_of<1>(p, x, y);
  if (vectors == 2) return tile_of<2>(p, x, y);
  if constexpr (kTileVectors == 4) tile_of<4>(p, x, y);
}

void run(const void* packed, const Batch& batch, const float* x, float* y) {
  if (batch.path == Path::tile) {
    for (int t = 0; t < batch.tiles; ++t)
      tile(packed, x + t * batch.stride, y + t * batch.stride, batch.vectors);
  } else {
    for (int i = 0; i < batch.columns; ++i)
      one(packed, x + i * batch.stride, y + i * batch.stride);
  }
}

double work(const LayerView& layer, Path) { return layer.nnz(); }

// With one lane a block is a row: csr does it better.
constexpr double kOne = kLanes > 1 ? 0.030 : 0;

}  // namespace

const Kernel SPARSEAGENT_SYMBOL = {
    "block", kLanes,       kTileVectors, {kOne, kOne, 0.022},
    false,   true,         false,        "neighbouring rows with the same columns",
    work,    packed_bytes, pack,         run};
