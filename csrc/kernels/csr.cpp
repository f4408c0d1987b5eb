// csr: only the weights that are there, row by row, in their stored order.
//
//   chains   the runs of all rows ("chains" of fused multiply-adds), sorted by length,
//   longest first groups   four neighbours of that list, walked in lockstep while all
//   of them have entries:
//              step k: [i0 i1 i2 i3] [w0 w1 w2 w3]      then each chain's own rest, if
//              any
//
// Four chains in lockstep, times 1 or 2 vectors of observations, keep enough
// independent FMAs in flight to hide their latency; sorting makes the rests short and
// the loop ends predictable. In batches it loses to dense below about 40 % zeros. For
// one observation every entry costs a scalar load of its input: it needs about 90 %
// zeros to beat dense.
#include "core/kernel.h"
#include "simd/activation.h"
#include "simd/join.h"
#include "simd/layout.h"

extern "C" const sparseagent::Kernel SPARSEAGENT_SYMBOL;

namespace {

using sparseagent::Kernel;
using sparseagent::LayerView;
using sparseagent::Path;

constexpr int kGroup = 4;

struct Header {
  int out;
  int in;
  int runs;
  int groups;
  bool relu;  // applied in registers: one run per row
  Activation activation;
  float alpha;
  long chains;  // byte offsets from the header
  long indices;
  long weights;
};

// One group: where its chains write, how they start and how long they are.
struct Group {
  int chain[kGroup];  // row of y; a missing chain repeats the first one, with length 0
  float start[kGroup];
  int length[kGroup];  // falling
};

Header layout(const LayerView& layer, long* bytes) {
  Header h;
  h.out = layer.out;
  h.in = layer.in;
  h.runs = layer.runs;
  h.groups = (layer.chains() + kGroup - 1) / kGroup;
  h.relu = layer.activation == Activation::relu && layer.runs == 1;
  h.activation = layer.activation;
  h.alpha = layer.alpha;
  h.chains = round_up(sizeof(Header), 64);
  h.indices = h.chains + round_up(static_cast<long>(sizeof(Group)) * h.groups, 64);
  h.weights = h.indices + round_up(4L * layer.nnz(), 64);
  *bytes = h.weights + round_up(4L * layer.nnz(), 64);
  return h;
}

std::size_t packed_bytes(const LayerView& layer, Path) {
  long bytes = 0;
  layout(layer, &bytes);
  return static_cast<std::size_t>(bytes);
}

// Chains by falling length, equal lengths in their own order: a counting sort over the
// group table, which needs no memory of its own. Returns the chains in
// `order[group].chain`.
void sort_chains(const LayerView& layer, Group* groups, int count) {
  int longest = 0;
  for (int i = 0; i < layer.chains(); ++i) {
    const int length = layer.indptr[i + 1] - layer.indptr[i];
    if (length > longest) longest = length;
  }
  int next = 0;
  for (int length = longest; length >= 0; --length) {
    for (int i = 0; i < layer.chains(); ++i) {
      if (layer.indptr[i + 1] - layer.indptr[i] != length) continue;
      Group& group = groups[next / kGroup];
      group.chain[next % kGroup] = i;
      group.length[next % kGroup] = length;
      group.start[next % kGroup] =
          i % layer.runs == 0 ? layer.bias[i / layer.runs] : 0.0f;
      ++next;
    }
  }
  for (; next < count * kGroup; ++next) {
    Group& group = groups[next / kGroup];
    group.chain[next % kGroup] = group.chain[0];
    group.length[next % kGroup] = 0;
    group.start[next % kGroup] = 0.0f;
  }
}

void pack(const LayerView& layer, Path, void* packed) {
  long bytes = 0;
  const Header h = layout(layer, &bytes);
  char* base = static_cast<char*>(packed);
  __builtin_memset(base, 0, static_cast<std::size_t>(bytes));
  __builtin_memcpy(base, &h, sizeof h);
  Group* groups = reinterpret_cast<Group*>(base + h.chains);
  int* indices = reinterpret_cast<int*>(base + h.indices);
  float* weights = reinterpret_cast<float*>(base + h.weights);
  sort_chains(layer, groups, h.groups);
  for (int g = 0; g < h.groups; ++g) {
    const Group& group = groups[g];
    const int together = group.length[kGroup - 1];
    for (int k = 0; k < together; ++k) {
      for (int i = 0; i < kGroup; ++i) {
        *indices++ = layer.indices[layer.indptr[group.chain[i]] + k];
        *weights++ = layer.values[layer.indptr[group.chain[i]] + k];
      }
    }
    for (int i = 0; i < kGroup; ++i) {
      for (int k = together; k < group.length[i]; ++k) {
        *indices++ = layer.indices[layer.indptr[group.chain[i]] + k];
        *weights++ = layer.values[layer.indptr[group.chain[i]] + k];
      }
    }
  }
}

struct Packed {
  const Header& h;
  const Group* groups;
  const int* indices;
  const float* weights;
};

inline Packed open(const void* packed) {
  const char* base = static_cast<const char*>(packed);
  const Header& h = *reinterpret_cast<const Header*>(base);
  return {h, reinterpret_cast<const Group*>(base + h.chains),
          reinterpret_cast<const int*>(base + h.indices),
          reinterpret_cast<const float*>(base + h.weights)};
}

// ---- one observation
// ----------------------------------------------------------------------------

void one(const void* packed, const float* x, float* y) {
  const Packed p = open(packed);
  const Header& h = p.h;
  const int* index = p.indices;
  const float* weight = p.weights;
  for (int g = 0; g < h.groups; ++g) {
    const Group& group = p.groups[g];
    float acc[kGroup];
#pragma GCC unroll 4
    for (int i = 0; i < kGroup; ++i) acc[i] = group.start[i];
    const int together = group.length[kGroup - 1];
    for (int k = 0; k < together; ++k) {
#pragma GCC unroll 4
      for (int i = 0; i < kGroup; ++i)
        acc[i] = __builtin_fmaf(weight[i], x[index[i]], acc[i]);
      index += kGroup;
      weight += kGroup;
    }
#pragma GCC unroll 4
    for (int i = 0; i < kGroup; ++i) {
      for (int k = together; k < group.length[i]; ++k) {
        acc[i] = __builtin_fmaf(*weight++, x[*index++], acc[i]);
      }
    }
#pragma GCC unroll 4
    for (int i = kGroup - 1; i >= 0; --i) y[group.chain[i]] = acc[i];
  }
  if (h.runs > 1) join_chains(y, h.out, h.runs, 1);
  activate(h.activation, h.alpha, y, round_up(h.out, kLanes));
}

// ---- a tile of observations
// ---------------------------------------------------------------------

template <int V>
inline void step(float weight, const float* x, vec* acc) {
  const vec w = splat(weight);
#pragma GCC unroll 2
  for (int v = 0; v < V; ++v) acc[v] = fma(w, load(x + v * kLanes), acc[v]);
}

template <int V>
void tile_of(const Packed& p, const float* x, float* y) {
  constexpr long width = V * kLanes;
  const Header& h = p.h;
  const int* index = p.indices;
  const float* weight = p.weights;
  for (int g = 0; g < h.groups; ++g) {
    const Group& group = p.groups[g];
    vec acc[kGroup][V];
#pragma GCC unroll 4
    for (int i = 0; i < kGroup; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) acc[i][v] = splat(group.start[i]);
    }
    const int together = group.length[kGroup - 1];
    for (int k = 0; k < together; ++k) {
#pragma GCC unroll 4
      for (int i = 0; i < kGroup; ++i) step<V>(weight[i], x + index[i] * width, acc[i]);
      index += kGroup;
      weight += kGroup;
    }
#pragma GCC unroll 4
    for (int i = 0; i < kGroup; ++i) {
      for (int k = together; k < group.length[i]; ++k) {
        step<V>(*weight++, x + *index++ * width, acc[i]);
      }
    }
#pragma GCC unroll 4
    for (int i = kGroup - 1; i >= 0; --i) {
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) {
        store(y + group.chain[i] * width + v * kLanes, finish(h.relu, acc[i][v]));
      }
    }
  }
  if (h.runs > 1) join_chains(y, h.out, h.runs, static_cast<int>(width));
  if (h.runs > 1 || !in_register(h.activation))
    activate(h.activation, h.alpha, y, h.out * width);
}

void tile(const void* packed, const float* x, float* y, int vectors) {
  const Packed p = open(packed);
  vectors == 1 ? tile_of<1>(p, x, y) : tile_of<2>(p, x, y);
}

}  // namespace

const Kernel SPARSEAGENT_SYMBOL = {"csr",        kLanes, true, true,
                                   packed_bytes, pack,   one,  tile};
