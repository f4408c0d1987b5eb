// dense: every weight is stored, absent ones as 0.
//
//   one   chunks of 256 columns, in each: blocks of up to 8 vectors of rows, column
//   after column
//           chunk 0: [block 0: c0 rows..., c1 rows..., ...] [block 1: ...]   chunk 1:
//           ...
//         A block keeps its sums in registers. Columns whose activation is 0 are
//         skipped: after a relu that is about half of them.
//   tile  blocks of kTileRows rows, column after column: [c0: r0 r1 ... | c1: r0 r1 ...
//   | ...]
//         The register tile: kTileRows x 2 vectors of sums, weights broadcast from the
//         stream. Of several tiles each block of weights does its work in all of them
//         while it is in the first cache.
//
// Fast because it streams its weights once and keeps 8 to 28 independent chains in
// flight. It loses when more than about half of the weights are absent, because it
// multiplies by all of them.
//
// An absent weight must never touch its input, but 0 * Inf is NaN. An Inf or NaN input
// makes every sum of the fast loop non-finite, so one look at the first rows is enough
// to notice; the layer is then done again by a careful loop that reads the structure
// from a bit mask.
#include "core/kernel.h"
#include "kernels/dense_layout.h"
#include "kernels/dense_tile.h"
#include "simd/activation.h"
#include "simd/finite.h"

extern "C" const sparseagent::Kernel SPARSEAGENT_SYMBOL;

namespace {

using sparseagent::Batch;
using sparseagent::Kernel;

// The columns of `columns` at x that are not 0 in every one of the N observations.
struct Nonzero {
  int column[kChunk + kLanes];
  int count = 0;

  template <int N>
  void find(const float* x, long stride, int columns) {
    count = 0;
    int c = 0;
    for (; c + kLanes <= columns; c += kLanes) {
      vec any = load(x + c);
#pragma GCC unroll 4
      for (int n = 1; n < N; ++n) any = either(any, load(x + n * stride + c));
      count += append_nonzero(any, c, column + count);
    }
    for (; c < columns; ++c) {
      bool any = x[c] != 0.0f;
      for (int n = 1; n < N; ++n) any |= x[n * stride + c] != 0.0f;
      column[count] = c;
      count += any;
    }
  }
};

// ---- one observation
// ----------------------------------------------------------------------------

// Adds the listed columns to the V vectors of sums at `sums`.
template <int V>
void add_columns(const float* weight, const float* x, const int* list, int count,
                 float* sums) {
  vec acc[V];
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) acc[v] = load(sums + v * kLanes);
  for (int i = 0; i < count; ++i) {
    const vec input = splat(x[list[i]]);
    const float* column = weight + static_cast<long>(list[i]) * V * kLanes;
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) acc[v] = fma(load(column + v * kLanes), input, acc[v]);
  }
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) store(sums + v * kLanes, acc[v]);
}

using AddColumns = void (*)(const float*, const float*, const int*, int, float*);
constexpr AddColumns kAddColumns[] = {
    nullptr,        add_columns<1>, add_columns<2>, add_columns<3>, add_columns<4>,
    add_columns<5>, add_columns<6>, add_columns<7>, add_columns<8>,
};

void careful_one(const Packed& p, const float* x, float* y) {
  for (int r = 0; r < p.h.out; ++r) {
    float acc = p.bias[r];
    for (int c = 0; c < p.h.in; ++c) {
      if (p.present(r, c))
        acc = __builtin_fmaf(p.weight[place_one(p.h, r, c)], x[c], acc);
    }
    y[r] = acc;
  }
}

void one(const void* packed, const float* x, float* y) {
  const Packed p = open(packed);
  const Header& h = p.h;
  for (int r = 0; r < h.padded; r += kLanes) store(y + r, load(p.bias + r));
  const float* weight = p.weight;
  Nonzero list;
  for (int start = 0; start < h.in; start += kChunk) {
    const int columns = h.in - start < kChunk ? h.in - start : kChunk;
    list.find<1>(x + start, 0, columns);
    for (int r = 0; r < h.padded; r += kBlockVectors * kLanes) {
      const int left = (h.padded - r) / kLanes;
      const int vectors = left < kBlockVectors ? left : kBlockVectors;
      kAddColumns[vectors](weight, x + start, list.column, list.count, y + r);
      weight += static_cast<long>(columns) * vectors * kLanes;
    }
  }
  if (h.masked && !all_finite(splat(y[0]))) careful_one(p, x, y);
  activate(h.activation, h.alpha, y, h.padded);
}

// ---- 2 or 4 observations
// ----------------------------------------------------------------------------

// Sums kept in registers: vectors of rows, times the observations.
constexpr int kFewVectors = kManyRegisters ? 4 : 2;

// Adds the listed columns, `height` weights apart, to V vectors of sums of N
// observations.
template <int V, int N>
void add_columns_few(const float* weight, long height, const float* x, const int* list,
                     int count, float* sums, long stride) {
  vec acc[N][V];
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) acc[n][v] = load(sums + n * stride + v * kLanes);
  }
  for (int i = 0; i < count; ++i) {
    const float* column = weight + list[i] * height;
    vec input[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) input[n] = splat(x[n * stride + list[i]]);
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      const vec w = load(column + v * kLanes);
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) acc[n][v] = fma(w, input[n], acc[n][v]);
    }
  }
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store(sums + n * stride + v * kLanes, acc[n][v]);
  }
}

// The listed columns of one block of rows, kFewVectors vectors at a time.
template <int N>
void add_block_few(const float* weight, int vectors, const float* x, const int* list,
                   int count, float* sums, long stride) {
  const long height = static_cast<long>(vectors) * kLanes;
  int v = 0;
  for (; v + kFewVectors <= vectors; v += kFewVectors) {
    add_columns_few<kFewVectors, N>(weight + v * kLanes, height, x, list, count,
                                    sums + v * kLanes, stride);
  }
  for (; v < vectors; ++v) {
    add_columns_few<1, N>(weight + v * kLanes, height, x, list, count,
                          sums + v * kLanes, stride);
  }
}

template <int N>
void few_of(const Packed& p, const float* x, float* y, long stride) {
  const Header& h = p.h;
  const float* weight = p.weight;
  for (int n = 0; n < N; ++n) {
    for (int r = 0; r < h.padded; r += kLanes)
      store(y + n * stride + r, load(p.bias + r));
  }
  Nonzero list;
  for (int start = 0; start < h.in; start += kChunk) {
    const int columns = h.in - start < kChunk ? h.in - start : kChunk;
    list.template find<N>(x + start, stride, columns);
    for (int r = 0; r < h.padded; r += kBlockVectors * kLanes) {
      const int left = (h.padded - r) / kLanes;
      const int vectors = left < kBlockVectors ? left : kBlockVectors;
      add_block_few<N>(weight, vectors, x + start, list.column, list.count, y + r,
                       stride);
      weight += static_cast<long>(columns) * vectors * kLanes;
    }
  }
  for (int n = 0; n < N; ++n) {
    float* sums = y + n * stride;
    if (h.masked && !all_finite(splat(sums[0]))) careful_one(p, x + n * stride, sums);
    activate(h.activation, h.alpha, sums, h.padded);
  }
}

void run(const void* packed, const Batch& batch, const float* x, float* y) {
  if (batch.path == Path::tile) {
    return tiles(packed, x, y, batch.vectors, batch.tiles, batch.stride);
  }
  if (batch.columns == 1) return one(packed, x, y);
  const Packed p = open(packed);
  batch.columns == 2 ? few_of<2>(p, x, y, batch.stride)
                     : few_of<4>(p, x, y, batch.stride);
}

double work(const LayerView& layer, Path) {
  return static_cast<double>(layer.out) * layer.in;
}

}  // namespace

const Kernel SPARSEAGENT_SYMBOL = {
    "dense", kLanes,       kTileVectors, {0.020, 0.020, 0.019},
    true,    false,        true,         "a policy repacked to 'ascending'",
    work,    packed_bytes, pack,         run};
