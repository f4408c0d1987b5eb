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
#include "simd/activation.h"
#include "simd/layout.h"

extern "C" const sparseagent::Kernel SPARSEAGENT_SYMBOL;

namespace {

using sparseagent::Kernel;
using sparseagent::LayerView;
using sparseagent::Path;

constexpr int kChunk = 256;  // columns whose nonzero activations are listed at a time
constexpr int kBlockVectors = 8;  // vectors of rows in a block

// A tile takes 2 bytes of weights a cycle: they are asked for so many floats ahead,
// which is some 2000 cycles, enough for a layer that lies in memory.
constexpr long kAhead = 1024;

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

inline bool all_finite(vec a) {
  return all(less(magnitude(a), splat(__builtin_inff())));
}

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

void few(const void* packed, const float* x, float* y, long stride, int count) {
  const Packed p = open(packed);
  count == 2 ? few_of<2>(p, x, y, stride) : few_of<4>(p, x, y, stride);
}

// ---- a tile of observations
// ---------------------------------------------------------------------

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

void tile(const void* packed, const float* x, float* y, int vectors) {
  tiles(packed, x, y, vectors, 1, 0);
}

}  // namespace

const Kernel SPARSEAGENT_SYMBOL = {"dense", kLanes, kTileVectors, true,
                                   true,    false,  packed_bytes, pack,
                                   one,     few,    tile,         tiles};
