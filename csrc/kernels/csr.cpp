// csr: only the weights that are there, row by row, in their stored order.
//
//   chains   the runs of all rows ("chains" of fused multiply-adds), sorted by length,
//            longest first
//   group    four neighbours of that list, walked in lockstep
//   step     the next entry of each of the four: [o0 o1 o2 o3] [w0 w1 w2 w3]
//            16-bit offsets in one 64-bit load (32-bit ones where a layer is wider than
//            that), the weights in one 16-byte load; a chain that has ended points to
//            the zero behind the inputs
//
// Four chains times 1 to 4 vectors of observations keep enough independent FMAs in
// flight to hide their latency. Per weight a tile costs the loads of its inputs and
// little else: index and weight come four at a time. Sorting makes the padding small
// and the loop ends predictable. In batches it loses to dense below about 40 % zeros.
// For one observation every entry costs a scalar load of its input: it needs about 90 %
// zeros to beat dense.
#include <cstdint>

#include "core/kernel.h"
#include "simd/activation.h"
#include "simd/chains.h"
#include "simd/join.h"
#include "simd/layout.h"

extern "C" const sparseagent::Kernel SPARSEAGENT_SYMBOL;

namespace {

using sparseagent::Batch;
using sparseagent::Kernel;
using sparseagent::LayerView;
using sparseagent::Path;

constexpr int kGroup = 4;
constexpr int kShortOffsets = 1 << 16;

struct Header {
  int out;
  int runs;
  int groups;
  bool wide;  // offsets have 32 bits
  bool relu;  // applied in registers: one run per row
  Activation activation;
  float alpha;
  long weights;  // byte offsets from the header
  long offsets;
};

// One group: where its chains write, how they start and how many steps they take.
struct Group {
  int chain[kGroup];  // a missing chain repeats the first one
  float start[kGroup];
  int steps;
};

// The steps of all groups: each as many as its longest chain has entries.
long count_steps(const LayerView& layer) {
  long steps = 0;
  by_falling_length(layer, [&](int place, int chain) {
    if (place % kGroup == 0) steps += chain_length(layer, chain);
  });
  return steps;
}

Header layout(const LayerView& layer, long* bytes) {
  Header h = blank<Header>();
  h.out = layer.out;
  h.runs = layer.runs;
  h.groups = (layer.chains() + kGroup - 1) / kGroup;
  h.wide = layer.in >= kShortOffsets;
  h.relu = layer.activation == Activation::relu && layer.runs == 1;
  h.activation = layer.activation;
  h.alpha = layer.alpha;
  const long entries = kGroup * count_steps(layer);
  const long groups = round_up(sizeof(Header), 64);
  h.weights = groups + round_up(static_cast<long>(sizeof(Group)) * h.groups, 64);
  h.offsets = h.weights + round_up(4 * entries, 64);
  *bytes = h.offsets + round_up((h.wide ? 4 : 2) * entries, 64);
  return h;
}

std::size_t packed_bytes(const LayerView& layer, Path) {
  long bytes = 0;
  layout(layer, &bytes);
  return static_cast<std::size_t>(bytes);
}

struct Packed {
  const Header& h;
  const Group* groups;
  const float* weights;
  const char* offsets;
};

inline Packed open(const void* packed) {
  const char* base = static_cast<const char*>(packed);
  const Header& h = *reinterpret_cast<const Header*>(base);
  return {h, reinterpret_cast<const Group*>(base + round_up(sizeof(Header), 64)),
          reinterpret_cast<const float*>(base + h.weights), base + h.offsets};
}

template <typename Offset>
void pack_steps(const LayerView& layer, const Packed& p, float* weight,
                Offset* offset) {
  for (int g = 0; g < p.h.groups; ++g) {
    const Group& group = p.groups[g];
    for (int k = 0; k < group.steps; ++k) {
      for (int i = 0; i < kGroup; ++i) {
        const int chain = group.chain[i];
        const bool missing = i > 0 && chain == group.chain[0];
        const bool there = !missing && k < chain_length(layer, chain);
        const int entry = layer.indptr[chain] + k;
        *weight++ = there ? layer.values[entry] : 0.0f;
        *offset++ = static_cast<Offset>(there ? layer.indices[entry] : layer.in);
      }
    }
  }
}

void pack(const LayerView& layer, Path, void* packed) {
  long bytes = 0;
  const Header h = layout(layer, &bytes);
  char* base = static_cast<char*>(packed);
  __builtin_memset(base, 0, static_cast<std::size_t>(bytes));
  __builtin_memcpy(base, &h, sizeof h);
  const Packed p = open(packed);
  Group* groups = const_cast<Group*>(p.groups);
  by_falling_length(layer, [&](int place, int chain) {
    Group& group = groups[place / kGroup];
    if (place % kGroup == 0) {
      for (int i = 0; i < kGroup; ++i) group.chain[i] = chain;
      group.steps = chain_length(layer, chain);
    }
    group.chain[place % kGroup] = chain;
    group.start[place % kGroup] = chain_start(layer, chain);
  });
  float* weights = reinterpret_cast<float*>(base + h.weights);
  if (h.wide) {
    pack_steps(layer, p, weights, reinterpret_cast<std::uint32_t*>(base + h.offsets));
  } else {
    pack_steps(layer, p, weights, reinterpret_cast<std::uint16_t*>(base + h.offsets));
  }
}

// The four offsets of a step.
struct Short {
  std::uint64_t all;
  static constexpr int kBytes = 8;
  explicit Short(const char* p) { __builtin_memcpy(&all, p, sizeof all); }
  long operator[](int i) const { return static_cast<long>((all >> (16 * i)) & 0xffff); }
};

struct Wide {
  const char* p;
  static constexpr int kBytes = 16;
  explicit Wide(const char* at) : p(at) {}
  long operator[](int i) const {
    std::uint32_t offset;
    __builtin_memcpy(&offset, p + 4 * i, sizeof offset);
    return static_cast<long>(offset);
  }
};

// ---- one observation
// ----------------------------------------------------------------------------

template <typename Offsets>
void one_of(const Packed& p, const float* x, float* y) {
  const char* offsets = p.offsets;
  const float* weight = p.weights;
  for (int g = 0; g < p.h.groups; ++g) {
    const Group& group = p.groups[g];
    float acc[kGroup];
#pragma GCC unroll 4
    for (int i = 0; i < kGroup; ++i) acc[i] = group.start[i];
    for (int k = 0; k < group.steps; ++k) {
      const Offsets offset(offsets);
#pragma GCC unroll 4
      for (int i = 0; i < kGroup; ++i)
        acc[i] = __builtin_fmaf(weight[i], x[offset[i]], acc[i]);
      weight += kGroup;
      offsets += Offsets::kBytes;
    }
    // From the last to the first: a missing chain repeats the first one, which wins.
#pragma GCC unroll 4
    for (int i = kGroup - 1; i >= 0; --i) y[group.chain[i]] = acc[i];
  }
}

void one(const void* packed, const float* x, float* y) {
  const Packed p = open(packed);
  const Header& h = p.h;
  h.wide ? one_of<Wide>(p, x, y) : one_of<Short>(p, x, y);
  if (h.runs > 1) join_chains(y, h.out, h.runs, 1);
  activate(h.activation, h.alpha, y, round_up(h.out, kLanes));
}

// ---- a tile of observations
// ---------------------------------------------------------------------

template <int V>
inline void add(vec weight, const float* x, vec* acc) {
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) acc[v] = fma(weight, load(x + v * kLanes), acc[v]);
}

// The R chains of a group from chain F on: as many as there are registers for.
template <typename Offsets, int V, int R, int F>
inline void chains_of(const Group& group, const float* weight, const char* offsets,
                      bool relu, const float* x, float* y) {
  constexpr long width = V * kLanes;
  vec acc[R][V];
#pragma GCC unroll 4
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) acc[i][v] = splat(group.start[F + i]);
  }
  for (int k = 0; k < group.steps; ++k) {
    const Offsets offset(offsets);
    const quad w = load_quad(weight);
    add<V>(spread<F>(w), x + offset[F] * width, acc[0]);
    add<V>(spread<F + 1>(w), x + offset[F + 1] * width, acc[1]);
    if constexpr (R == kGroup) {
      add<V>(spread<2>(w), x + offset[2] * width, acc[2]);
      add<V>(spread<3>(w), x + offset[3] * width, acc[3]);
    }
    weight += kGroup;
    offsets += Offsets::kBytes;
  }
#pragma GCC unroll 4
  for (int i = R - 1; i >= 0; --i) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      store(y + group.chain[F + i] * width + v * kLanes, finish(relu, acc[i][v]));
    }
  }
}

// One step of a group.
template <typename Offsets, int V>
inline void step_of(const float* weight, const char* offsets, const float* x,
                    vec (*acc)[V]) {
  constexpr long width = V * kLanes;
  const Offsets offset(offsets);
  const quad w = load_quad(weight);
  add<V>(spread<0>(w), x + offset[0] * width, acc[0]);
  add<V>(spread<1>(w), x + offset[1] * width, acc[1]);
  add<V>(spread<2>(w), x + offset[2] * width, acc[2]);
  add<V>(spread<3>(w), x + offset[3] * width, acc[3]);
}

// Whether two groups go through a tile side by side. A CPU that starts two FMAs a cycle
// waits for their results where there are fewer than eight chains and vectors of them;
// more than the registers hold would be worse.
template <int V>
constexpr bool kTwoGroups = kLanes >= 8 && V <= (kManyRegisters ? 2 : 1);

// A group and the next, which has no more steps.
template <typename Offsets, int V>
inline void two_groups(const Group* group, const float* weight, const char* offsets,
                       bool relu, const float* x, float* y) {
  constexpr long width = V * kLanes;
  const int steps = group[0].steps;
  const float* next_weight = weight + static_cast<long>(kGroup) * steps;
  const char* next_offsets = offsets + static_cast<long>(Offsets::kBytes) * steps;
  vec acc[2 * kGroup][V];
#pragma GCC unroll 8
  for (int i = 0; i < 2 * kGroup; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) acc[i][v] = splat(group[i / kGroup].start[i % kGroup]);
  }
  int k = 0;
  for (; k < group[1].steps; ++k) {
    step_of<Offsets, V>(weight + kGroup * k, offsets + Offsets::kBytes * k, x, acc);
    step_of<Offsets, V>(next_weight + kGroup * k, next_offsets + Offsets::kBytes * k, x,
                        acc + kGroup);
  }
  for (; k < steps; ++k)
    step_of<Offsets, V>(weight + kGroup * k, offsets + Offsets::kBytes * k, x, acc);
#pragma GCC unroll 8
  for (int i = 2 * kGroup - 1; i >= 0; --i) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) {
      store(y + group[i / kGroup].chain[i % kGroup] * width + v * kLanes,
            finish(relu, acc[i][v]));
    }
  }
}

template <typename Offsets, int V>
void groups_of(const Packed& p, const float* x, float* y) {
  const char* offsets = p.offsets;
  const float* weight = p.weights;
  int g = 0;
  for (; kTwoGroups<V> && g + 1 < p.h.groups; g += 2) {
    two_groups<Offsets, V>(p.groups + g, weight, offsets, p.h.relu, x, y);
    const long steps = p.groups[g].steps + p.groups[g + 1].steps;
    weight += kGroup * steps;
    offsets += Offsets::kBytes * steps;
  }
  for (; g < p.h.groups; ++g) {
    const Group& group = p.groups[g];
    // From the last chain to the first: a missing one repeats the first, which wins.
    if constexpr (V <= 2 || kManyRegisters) {
      chains_of<Offsets, V, 4, 0>(group, weight, offsets, p.h.relu, x, y);
    } else {
      chains_of<Offsets, V, 2, 2>(group, weight, offsets, p.h.relu, x, y);
      chains_of<Offsets, V, 2, 0>(group, weight, offsets, p.h.relu, x, y);
    }
    weight += static_cast<long>(kGroup) * group.steps;
    offsets += static_cast<long>(Offsets::kBytes) * group.steps;
  }
}

template <int V>
void tile_of(const Packed& p, const float* x, float* y) {
  constexpr long width = V * kLanes;
  const Header& h = p.h;
  h.wide ? groups_of<Wide, V>(p, x, y) : groups_of<Short, V>(p, x, y);
  if (h.runs > 1) join_chains(y, h.out, h.runs, width);
  if (h.runs > 1 || !in_register(h.activation))
    activate(h.activation, h.alpha, y, h.out * width);
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

}  // namespace

const Kernel SPARSEAGENT_SYMBOL = {
    "csr", kLanes, kTileVectors, {0.160, 0.160, 0.035}, false, true,
    false, "",     work,         packed_bytes,          pack,  run};
