// dense on tiles: a register tile of kTileRows rows times two vectors of observations.
#pragma once

#include "kernels/dense_layout.h"
#include "simd/activation.h"
#include "simd/finite.h"

namespace {

// A tile takes 2 bytes of weights a cycle: they are asked for so many floats ahead,
// which is some 2000 cycles, enough for a layer that lies in memory.
constexpr long kAhead = 1024;

// One register tile's work: some columns of R rows x V vectors of observations.
struct Columns {
  const float* weight;
  const float* bias;  // null: go on from the sums in y
  const float* x;
  long width;  // observations of the whole tile
  int count;
  bool last;  // the rows are complete after these
  bool relu;
};

// False if the rows are complete and a sum of the first one is not finite.
template <int R, int V>
bool row_block(const Columns& work, float* y) {
  const float* weight = work.weight;
  const float* x = work.x;
  vec acc[R][V];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) {
      acc[r][v] =
          work.bias ? splat(work.bias[r]) : load(y + r * work.width + v * kLanes);
    }
  }
  for (int c = 0; c < work.count; ++c) {
    vec input[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) input[v] = load(x + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const vec w = splat(weight[r]);
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) acc[r][v] = fma(w, input[v], acc[r][v]);
    }
    __builtin_prefetch(weight + kAhead);
    x += work.width;
    weight += R;
  }
  bool finite = true;
#pragma GCC unroll 2
  for (int v = 0; v < V; ++v) finite = finite && all_finite(acc[0][v]);
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) {
      const vec sum = work.last ? finish(work.relu, acc[r][v]) : acc[r][v];
      store(y + r * work.width + v * kLanes, sum);
    }
  }
  return finite || !work.last;
}

using RowBlock = bool (*)(const Columns&, float*);

// row_block<rows, V> for a number of rows known at run time.
template <int V, int R = kTileRows>
RowBlock block_of(int rows) {
  if constexpr (R == 0) {
    return nullptr;
  } else {
    return rows == R ? row_block<R, V> : block_of<V, R - 1>(rows);
  }
}

void careful_tile(const Packed& p, const float* x, float* y, int width) {
  for (int r = 0; r < p.h.out; ++r) {
    for (int t = 0; t < width; ++t) {
      float acc = p.bias[r];
      for (int c = 0; c < p.h.in; ++c) {
        if (!p.present(r, c)) continue;
        const float input = x[static_cast<long>(c) * width + t];
        acc = __builtin_fmaf(p.weight[place_tile(p.h, r, c)], input, acc);
      }
      y[static_cast<long>(r) * width + t] = acc;
    }
  }
  if (in_register(p.h.activation)) {
    activate(p.h.activation, p.h.alpha, y, static_cast<long>(p.h.out) * width);
  }
}

// All rows of `tiles` tiles of `width` observations, V vectors of them at a time.
// finite[t]: whether the first row's sums of tile t are; the tile is left alone once
// they are not.
template <int V>
void rows_of(const Packed& p, const float* x, float* y, long width, int tiles,
             long stride, bool* finite) {
  const Header& h = p.h;
  const RowBlock whole = row_block<kTileRows, V>;
  // Chunks of columns, so that their inputs stay in a cache while all rows pass by;
  // each block of weights does its work in all tiles while it is in the first cache.
  for (int c = 0; c < h.in; c += kChunk) {
    const int columns = h.in - c < kChunk ? h.in - c : kChunk;
    const bool last = c + columns == h.in;
    for (int r = 0; r < h.out; r += kTileRows) {
      const int rows = h.out - r < kTileRows ? h.out - r : kTileRows;
      const RowBlock block = rows == kTileRows ? whole : block_of<V>(rows);
      const float* weight =
          p.weight + static_cast<long>(r) * h.in + static_cast<long>(c) * rows;
      const float* bias = c == 0 ? p.bias + r : nullptr;
      for (int t = 0; t < tiles; ++t) {
        for (long first = 0; first < width && finite[t]; first += V * kLanes) {
          const float* from = x + t * stride + first + c * width;
          float* to = y + t * stride + first + r * width;
          const bool ok = block({weight, bias, from, width, columns, last, h.relu}, to);
          finite[t] = ok || !h.masked || r > 0;
        }
      }
    }
  }
}

void tiles(const void* packed, const float* x, float* y, int vectors, int count,
           long stride) {
  const Packed p = open(packed);
  const Header& h = p.h;
  const long width = static_cast<long>(vectors) * kLanes;
  bool finite[sparseagent::kTilesTogether];
  for (bool& f : finite) f = true;
  vectors == 1 ? rows_of<1>(p, x, y, width, count, stride, finite)
               : rows_of<2>(p, x, y, width, count, stride, finite);
  for (int t = 0; t < count; ++t) {
    float* sums = y + t * stride;
    if (!finite[t]) careful_tile(p, x + t * stride, sums, static_cast<int>(width));
    if (!in_register(h.activation))
      activate(h.activation, h.alpha, sums, h.out * width);
  }
}

}  // namespace
