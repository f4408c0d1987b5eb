// perm: sparse, one observation, one chain per lane; inputs come from registers, not
// from gathers.
//
//   block    kLanes chains side by side (a chain is a run of a row)
//   group    four blocks in lockstep: four independent sums hide the latency of the FMA
//   step     chunks of kLanes inputs: a, shared by the group, and one more for each
//            block; every lane looks its next input up in the two with one permute and
//            adds w * x. A lane whose next input is elsewhere waits, with weight 0.
//              chunks: [a b0 b1 b2 b3]
//              stream: [places: 4 bytes per lane] [w block 0 .. w block 3]
//            The stream is aligned: no load of it crosses a cache line.
//
// Fast because a step costs two and a half vector loads, a permute and an FMA for up to
// kLanes weights, where a scalar CSR loop pays a load of the input for each. The loads
// are the limit: sharing a saves a quarter of them and costs hardly a lane. Of 2 or 4
// observations at a time all but the lookups is shared. How many lanes work in a step
// (the fill) depends on the order the row is stored in: `policy.repack` lays it down
// for one kLanes; any other order is followed exactly, with more steps. It loses to
// dense above about half the weights, and to csr where hardly any are left.
//
// A waiting lane multiplies some input by 0, which is NaN if that input is Inf or NaN.
// So a sum that is not finite makes the layer be done again by a careful loop that
// knows which lanes wait.
#include "core/kernel.h"
#include "kernels/perm_walk.h"
#include "simd/activation.h"
#include "simd/chains.h"
#include "simd/finite.h"
#include "simd/join.h"
#include "simd/layout.h"

extern "C" const sparseagent::Kernel SPARSEAGENT_SYMBOL;

namespace {

using sparseagent::Batch;
using sparseagent::Kernel;
using sparseagent::LayerView;
using sparseagent::Path;

constexpr unsigned char kWorks =
    0x80;  // in a place: this lane takes an input in this step
constexpr long kPlaceBytes = 4 * kLanes;

struct Header {
  int out;
  int runs;
  int chains;
  int groups;
  bool sorted;  // lanes hold the chains by falling length: sums are scattered
  bool relu;    // applied in registers: one run per row, in order
  Activation activation;
  float alpha;
  long starts;  // byte offsets from the header: float [groups * kGroupChains]
  long order;   // int [groups * kGroupChains]: chain of each lane, -1 for none
  long steps;   // int [groups]
  long chunks;  // 8 bytes a step
  long stream;
};

constexpr long kChunkBytes = 8;  // of one step: the shared one, then one a block

// Bytes of one step of `blocks` blocks in the stream.
constexpr long step_bytes(int blocks) { return kPlaceBytes + 4L * blocks * kLanes; }

inline int blocks_of(int chains, int group) {
  const int left = chains - group * kGroupChains;
  return left >= kGroupChains ? kBlocks : (left + kLanes - 1) / kLanes;
}

bool falls(const LayerView& layer) {
  for (int i = 1; i < layer.chains(); ++i) {
    if (chain_length(layer, i) > chain_length(layer, i - 1)) return false;
  }
  return true;
}

// All but the stream, whose place is known when the steps are counted.
Header shape(const LayerView& layer) {
  Header h = blank<Header>();
  h.out = layer.out;
  h.runs = layer.runs;
  h.chains = layer.chains();
  h.groups = (h.chains + kGroupChains - 1) / kGroupChains;
  h.sorted = layer.runs == 1 && !falls(layer);
  h.relu = layer.activation == Activation::relu && layer.runs == 1;
  h.activation = layer.activation;
  h.alpha = layer.alpha;
  const long lanes = static_cast<long>(h.groups) * kGroupChains;
  h.starts = round_up(sizeof(Header), 64);
  h.order = h.starts + 4 * lanes;
  h.steps = h.order + 4 * lanes;
  h.chunks = h.steps + round_up(4L * h.groups, 64);
  h.stream = 0;
  return h;
}

// `visit(group, blocks, order)` for every group, with the chain of each of its lanes,
// -1 for none.
template <typename Visit>
void visit_groups(const LayerView& layer, const Header& h, Visit visit) {
  int order[kGroupChains];
  const auto put = [&](int place, int chain) {
    const int lane = place % kGroupChains;
    order[lane] = chain;
    if (lane + 1 < kGroupChains && place + 1 < h.chains) return;
    for (int i = lane + 1; i < kGroupChains; ++i) order[i] = -1;
    const int group = place / kGroupChains;
    visit(group, blocks_of(h.chains, group), order);
  };
  if (h.sorted) {
    by_falling_length(layer, put);
  } else {
    for (int i = 0; i < h.chains; ++i) put(i, i);
  }
}

// How long the steps of all groups are.
struct Extent {
  long steps = 0;
  long stream = 0;  // bytes
};

Extent measure(const LayerView& layer, const Header& h) {
  Extent all;
  visit_groups(layer, h, [&](int, int blocks, const int* order) {
    const int steps = shortest_walk(layer, order, blocks).steps;
    all.steps += steps;
    all.stream += steps * step_bytes(blocks);
  });
  return all;
}

Header layout(const LayerView& layer, long* bytes) {
  Header h = shape(layer);
  const Extent extent = measure(layer, h);
  h.stream = h.chunks + round_up(kChunkBytes * extent.steps, 64);
  *bytes = h.stream + round_up(extent.stream, 64);
  return h;
}

std::size_t packed_bytes(const LayerView& layer, Path) {
  if (layer.in > kMaxChunks * kLanes) return 0;
  long bytes = 0;
  layout(layer, &bytes);
  return static_cast<std::size_t>(bytes);
}

// Writes the steps of one group; returns how many there are.
int pack_group(const LayerView& layer, const int* order, int blocks, char* chunks,
               char* stream) {
  Walk walk(layer, order, blocks, shortest_walk(layer, order, blocks).rule);
  int steps = 0;
  for (; !walk.done(); ++steps) {
    int shared = 0;
    int own[kBlocks];
    int entry[kGroupChains];
    walk.step(&shared, own, entry);
    char* chunk = chunks + steps * kChunkBytes;
    chunk[0] = static_cast<char>(shared);
    for (int block = 0; block < blocks; ++block)
      chunk[1 + block] = static_cast<char>(own[block]);
    char* step = stream + steps * step_bytes(blocks);
    unsigned char* place = reinterpret_cast<unsigned char*>(step);
    float* weight = reinterpret_cast<float*>(step + kPlaceBytes);
    for (int i = 0; i < blocks * kLanes; ++i) {
      if (entry[i] < 0) continue;
      const int column = layer.indices[entry[i]];
      const int in_own = column / kLanes == shared ? 0 : kLanes;
      place[4 * (i % kLanes) + i / kLanes] =
          static_cast<unsigned char>(column % kLanes + in_own) | kWorks;
      weight[i] = layer.values[entry[i]];
    }
  }
  return steps;
}

void pack(const LayerView& layer, Path, void* packed) {
  long bytes = 0;
  const Header h = layout(layer, &bytes);
  char* base = static_cast<char*>(packed);
  __builtin_memset(base, 0, static_cast<std::size_t>(bytes));
  __builtin_memcpy(base, &h, sizeof h);
  float* starts = reinterpret_cast<float*>(base + h.starts);
  int* orders = reinterpret_cast<int*>(base + h.order);
  int* steps = reinterpret_cast<int*>(base + h.steps);
  char* chunks = base + h.chunks;
  char* stream = base + h.stream;
  visit_groups(layer, h, [&](int group, int blocks, const int* order) {
    for (int i = 0; i < kGroupChains; ++i) {
      orders[group * kGroupChains + i] = order[i];
      starts[group * kGroupChains + i] =
          order[i] < 0 ? 0.0f : chain_start(layer, order[i]);
    }
    steps[group] = pack_group(layer, order, blocks, chunks, stream);
    chunks += steps[group] * kChunkBytes;
    stream += steps[group] * step_bytes(blocks);
  });
}

struct Packed {
  const Header& h;
  const float* starts;
  const int* order;
  const int* steps;
  const char* chunks;
  const char* stream;
};

inline Packed open(const void* packed) {
  const char* base = static_cast<const char*>(packed);
  const Header& h = *reinterpret_cast<const Header*>(base);
  return {h,
          reinterpret_cast<const float*>(base + h.starts),
          reinterpret_cast<const int*>(base + h.order),
          reinterpret_cast<const int*>(base + h.steps),
          base + h.chunks,
          base + h.stream};
}

// One group where the walk stands.
struct Group {
  const float* starts;
  const int* order;
  const char* chunks;
  const char* stream;
  int steps;
  int first;  // lane
};

// Visits the groups; `run(group, blocks)`.
template <typename Run>
inline void for_each_group(const Packed& p, Run run) {
  Group group = {p.starts, p.order, p.chunks, p.stream, 0, 0};
  for (int g = 0; g < p.h.groups; ++g) {
    const int blocks = blocks_of(p.h.chains, g);
    group.steps = p.steps[g];
    run(group, blocks);
    group.starts += kGroupChains;
    group.order += kGroupChains;
    group.chunks += group.steps * kChunkBytes;
    group.stream += group.steps * step_bytes(blocks);
    group.first += kGroupChains;
  }
}

inline void put(const Header& h, const int* order, vec sum, float* y) {
  if (!h.sorted) {
    store(y, finish(h.relu, sum));
    return;
  }
  float lanes[kLanes];
  store(lanes, sum);
  for (int i = 0; i < kLanes && order[i] >= 0; ++i) y[order[i]] = lanes[i];
}

// B blocks for N observations, `stride` floats apart; returns whether all sums are
// finite.
template <int B, int N>
bool run_group(const Header& h, const Group& group, const float* x, float* y,
               long stride) {
  const char* stream = group.stream;
  vec acc[N][B];
#pragma GCC unroll 4
  for (int i = 0; i < B; ++i) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) acc[n][i] = load(group.starts + i * kLanes);
  }
#pragma GCC unroll 2
  for (int s = 0; s < group.steps; ++s) {
    unsigned long chunks;
    __builtin_memcpy(&chunks, group.chunks + s * kChunkBytes, sizeof chunks);
    ivec places = load_bytes(stream);
    const float* weight = reinterpret_cast<const float*>(stream + kPlaceBytes);
    vec shared[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n)
      shared[n] = load(x + (chunks & 0xff) * kLanes + n * stride);
#pragma GCC unroll 4
    for (int i = 0; i < B; ++i) {
      const float* own = x + ((chunks >> (8 * i + 8)) & 0xff) * kLanes;
      const vec w = load(weight + i * kLanes);
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) {
        acc[n][i] = fma(w, lookup(shared[n], own + n * stride, places), acc[n][i]);
      }
      places = next_byte(places);
    }
    stream += step_bytes(B);
  }
  bool finite = true;
#pragma GCC unroll 4
  for (int i = 0; i < B; ++i) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      finite = finite && all_finite(acc[n][i]);
      float* to = y + n * stride + (h.sorted ? 0 : group.first + i * kLanes);
      put(h, group.order + i * kLanes, acc[n][i], to);
    }
  }
  return finite;
}

void careful(const Packed& p, const float* x, float* y) {
  for_each_group(p, [&](const Group& group, int blocks) {
    for (int i = 0; i < blocks * kLanes; ++i) {
      if (group.order[i] < 0) continue;
      const int block = i / kLanes;
      float acc = group.starts[i];
      for (int s = 0; s < group.steps; ++s) {
        const char* step = group.stream + s * step_bytes(blocks);
        const auto place = static_cast<unsigned char>(step[4 * (i % kLanes) + block]);
        if (!(place & kWorks)) continue;
        const int within = place & (2 * kLanes - 1);
        const char* chunks = group.chunks + s * kChunkBytes;
        const auto chunk =
            static_cast<unsigned char>(chunks[within >= kLanes ? 1 + block : 0]);
        const float weight = reinterpret_cast<const float*>(step + kPlaceBytes)[i];
        acc = __builtin_fmaf(weight, x[chunk * kLanes + within % kLanes], acc);
      }
      y[group.order[i]] = acc;
    }
  });
}

template <int N>
void few_of(const void* packed, const float* x, float* y, long stride) {
  const Packed p = open(packed);
  const Header& h = p.h;
  bool finite = true;
  for_each_group(p, [&](const Group& group, int blocks) {
    bool ok = true;
    switch (blocks) {
      case 1: ok = run_group<1, N>(h, group, x, y, stride); break;
      case 2: ok = run_group<2, N>(h, group, x, y, stride); break;
      case 3: ok = run_group<3, N>(h, group, x, y, stride); break;
      default: ok = run_group<4, N>(h, group, x, y, stride); break;
    }
    finite = finite && ok;
  });
  const bool stored_finished = in_register(h.activation) && h.runs == 1 && !h.sorted;
  for (int n = 0; n < N; ++n) {
    float* sums = y + n * stride;
    if (!finite) careful(p, x + n * stride, sums);
    if (h.runs > 1) join_chains(sums, h.out, h.runs, 1);
    if (!stored_finished || !finite) {
      activate(h.activation, h.alpha, sums, round_up(h.out, kLanes));
    }
  }
}

// A function of its own, so that its loops are aligned as functions are.
__attribute__((noinline)) void one(const void* packed, const float* x, float* y) {
  few_of<1>(packed, x, y, 0);
}

void run(const void* packed, const Batch& batch, const float* x, float* y) {
  if (batch.columns == 1) return one(packed, x, y);
  if (batch.columns == 4 && kManyRegisters) {
    return few_of<4>(packed, x, y, batch.stride);
  }
  for (int n = 0; n < batch.columns; n += 2)
    few_of<2>(packed, x + n * batch.stride, y + n * batch.stride, batch.stride);
}

bool is_ascending(const LayerView& layer) {
  for (int r = 0; r < layer.out && layer.runs == 1; ++r) {
    for (int k = layer.indptr[r] + 1; k < layer.indptr[r + 1]; ++k) {
      if (layer.indices[k - 1] >= layer.indices[k]) return false;
    }
  }
  return layer.runs == 1;
}

// Lookups need an order made for them: in ascending order more lanes wait, unless the
// mask is lane-balanced. What is streamed says how many: a lane takes five bytes
// whether it waits or not, which is about eight a weight in an order made for lookups.
constexpr double kBytesAWeight = 8;

double work(const LayerView& layer, Path path) {
  if (!is_ascending(layer)) return layer.nnz();
  return static_cast<double>(packed_bytes(layer, path)) / kBytesAWeight;
}

// With one lane there is nothing to look up.
constexpr double kOne = kLanes > 1 ? 0.065 : 0;

}  // namespace

const Kernel SPARSEAGENT_SYMBOL = {
    "perm", kLanes,       kTileVectors, {kOne, 0.7 * kOne, 0},
    false,  false,        false,        "no more than 256 chunks of inputs",
    work,   packed_bytes, pack,         run};
