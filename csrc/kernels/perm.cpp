// perm: sparse, one observation, one chain per lane; inputs come from registers, not
// from gathers.
//
//   block    kLanes chains side by side (a chain is a run of a row)
//   step     two chunks of kLanes inputs, a and b; every lane looks its next input up
//   in them with one
//            permute and adds w * x. A lane whose next input is elsewhere waits, with
//            weight 0.
//   group    four blocks in lockstep: four independent sums hide the latency of the FMA
//              chunks: [a0 b0 a1 b1 a2 b2 a3 b3]
//              stream: [places: 4 bytes per lane] [w block 0 .. w block 3]
//            The stream is aligned: no load of it crosses a cache line.
//
// Fast because a step costs three vector loads, a permute and an FMA for up to kLanes
// weights, where a scalar CSR loop pays a load of the input for each. Of 2 or 4
// observations at a time all but the lookups is shared. How many lanes
// work in a step (the fill) depends on the order the row is stored in: `policy.repack`
// lays it down for one kLanes; any other order is followed exactly, with more steps. It
// loses to dense above about half the weights, and to csr where hardly any are left.
//
// A waiting lane multiplies some input by 0, which is NaN if that input is Inf or NaN.
// So a sum that is not finite makes the layer be done again by a careful loop that
// knows which lanes wait.
#include "core/kernel.h"
#include "simd/activation.h"
#include "simd/chains.h"
#include "simd/join.h"
#include "simd/layout.h"

extern "C" const sparseagent::Kernel SPARSEAGENT_SYMBOL;

namespace {

using sparseagent::Kernel;
using sparseagent::LayerView;
using sparseagent::Path;

constexpr int kBlocks = 4;
constexpr int kGroupChains = kBlocks * kLanes;
constexpr int kMaxChunks = 256;  // a chunk's number is a byte
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

constexpr long kChunkBytes = 2 * kBlocks;  // of one step

// Bytes of one step of `blocks` blocks in the stream.
constexpr long step_bytes(int blocks) { return kPlaceBytes + 4L * blocks * kLanes; }

inline int blocks_of(int chains, int group) {
  const int left = chains - group * kGroupChains;
  return left >= kGroupChains ? kBlocks : (left + kLanes - 1) / kLanes;
}

// Walks the chains of one block in their stored order and chooses the two chunks of
// every step: those that most lanes are waiting for.
class Walk {
 public:
  Walk(const LayerView& layer, const int* order) : layer_(layer), order_(order) {
    for (int lane = 0; lane < kLanes; ++lane) {
      at_[lane] = order[lane] < 0 ? 0 : layer.indptr[order[lane]];
      end_[lane] = order[lane] < 0 ? 0 : layer.indptr[order[lane] + 1];
    }
  }

  bool done() const {
    for (int lane = 0; lane < kLanes; ++lane) {
      if (at_[lane] < end_[lane]) return false;
    }
    return true;
  }

  // One step: the chunks, and for every lane its entry, or -1 if it waits.
  void step(int* a, int* b, int* entry) {
    int chunk[kLanes];
    int weight[kLanes];
    int longest = 0;
    for (int lane = 0; lane < kLanes; ++lane) {
      const int left = end_[lane] - at_[lane];
      chunk[lane] = left > 0 ? layer_.indices[at_[lane]] / kLanes : -1;
      weight[lane] = left;
      if (left > longest) longest = left;
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      weight[lane] = weight[lane] == 0 ? 0 : 16 + (weight[lane] + 2 >= longest ? 8 : 0);
    }
    *a = most_wanted(chunk, weight, -1);
    const int second = most_wanted(chunk, weight, *a);
    *b = second < 0 ? *a : second;
    for (int lane = 0; lane < kLanes; ++lane) {
      const bool takes = chunk[lane] >= 0 && (chunk[lane] == *a || chunk[lane] == *b);
      entry[lane] = takes ? at_[lane]++ : -1;
    }
  }

 private:
  static int most_wanted(const int* chunk, const int* weight, int but) {
    int best = -1;
    int best_weight = 0;
    for (int i = 0; i < kLanes; ++i) {
      if (chunk[i] < 0 || chunk[i] == but) continue;
      int sum = 0;
      for (int j = 0; j < kLanes; ++j) sum += chunk[j] == chunk[i] ? weight[j] : 0;
      if (sum > best_weight || (sum == best_weight && chunk[i] < best)) {
        best_weight = sum;
        best = chunk[i];
      }
    }
    return best;
  }

  const LayerView& layer_;
  const int* order_;
  int at_[kLanes];
  int end_[kLanes];
};

int steps_of_block(const LayerView& layer, const int* order) {
  Walk walk(layer, order);
  int steps = 0;
  int a = 0;
  int b = 0;
  int entry[kLanes];
  for (; !walk.done(); ++steps) walk.step(&a, &b, entry);
  return steps;
}

bool falls(const LayerView& layer) {
  for (int i = 1; i < layer.chains(); ++i) {
    if (chain_length(layer, i) > chain_length(layer, i - 1)) return false;
  }
  return true;
}

// All but the stream, whose place is known when the steps are counted.
Header shape(const LayerView& layer) {
  Header h;
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

// `visit(block, order)` for every block, with the chain of each of its lanes, -1 for
// none.
template <typename Visit>
void for_each_block(const LayerView& layer, const Header& h, Visit visit) {
  int order[kLanes];
  const auto put = [&](int place, int chain) {
    order[place % kLanes] = chain;
    if (place + 1 == h.chains) {
      for (int lane = place % kLanes + 1; lane < kLanes; ++lane) order[lane] = -1;
    }
    if (place % kLanes + 1 == kLanes || place + 1 == h.chains) {
      visit(place / kLanes, order);
    }
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
  int steps = 0;
  for_each_block(layer, h, [&](int block, const int* order) {
    const int own = steps_of_block(layer, order);
    steps = block % kBlocks == 0 || own > steps ? own : steps;
    const int blocks = blocks_of(h.chains, block / kBlocks);
    if (block % kBlocks + 1 < blocks) return;
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

// Writes the steps of one block into its places of the group's stream; returns how many
// there are.
int pack_block(const LayerView& layer, const int* order, int block, int blocks,
               char* chunks, char* stream) {
  Walk walk(layer, order);
  int steps = 0;
  for (; !walk.done(); ++steps) {
    int a = 0;
    int b = 0;
    int entry[kLanes];
    walk.step(&a, &b, entry);
    chunks[steps * kChunkBytes + 2 * block] = static_cast<char>(a);
    chunks[steps * kChunkBytes + 2 * block + 1] = static_cast<char>(b);
    char* step = stream + steps * step_bytes(blocks);
    unsigned char* place = reinterpret_cast<unsigned char*>(step);
    float* weight = reinterpret_cast<float*>(step + kPlaceBytes) + block * kLanes;
    for (int lane = 0; lane < kLanes; ++lane) {
      if (entry[lane] < 0) continue;
      const int column = layer.indices[entry[lane]];
      const int in_b = column / kLanes == a ? 0 : kLanes;
      place[4 * lane + block] =
          static_cast<unsigned char>(column % kLanes + in_b) | kWorks;
      weight[lane] = layer.values[entry[lane]];
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
  for_each_block(layer, h, [&](int block, const int* order) {
    const int group = block / kBlocks;
    const int blocks = blocks_of(h.chains, group);
    for (int lane = 0; lane < kLanes; ++lane) {
      const int chain = order[lane];
      orders[block * kLanes + lane] = chain;
      starts[block * kLanes + lane] = chain < 0 ? 0.0f : chain_start(layer, chain);
    }
    const int own = pack_block(layer, order, block % kBlocks, blocks, chunks, stream);
    if (own > steps[group]) steps[group] = own;
    if (block % kBlocks + 1 < blocks) return;
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
  for (int s = 0; s < group.steps; ++s) {
    unsigned long chunks;
    __builtin_memcpy(&chunks, group.chunks + s * kChunkBytes, sizeof chunks);
    ivec places = load_bytes(stream);
    const float* weight = reinterpret_cast<const float*>(stream + kPlaceBytes);
#pragma GCC unroll 4
    for (int i = 0; i < B; ++i) {
      const float* a = x + ((chunks >> (16 * i)) & 0xff) * kLanes;
      const float* b = x + ((chunks >> (16 * i + 8)) & 0xff) * kLanes;
      const vec w = load(weight + i * kLanes);
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) {
        acc[n][i] = fma(w, lookup(a + n * stride, b + n * stride, places), acc[n][i]);
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
      finite = finite && all(less(magnitude(acc[n][i]), splat(__builtin_inff())));
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
        const char* pair = group.chunks + s * kChunkBytes + 2 * block;
        const auto chunk = static_cast<unsigned char>(pair[within >= kLanes ? 1 : 0]);
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

void one(const void* packed, const float* x, float* y) { few_of<1>(packed, x, y, 0); }

void few(const void* packed, const float* x, float* y, long stride, int count) {
  if (count == 4 && kManyRegisters) {
    few_of<4>(packed, x, y, stride);
  } else {
    for (int n = 0; n < count; n += 2)
      few_of<2>(packed, x + n * stride, y + n * stride, stride);
  }
}

}  // namespace

const Kernel SPARSEAGENT_SYMBOL = {"perm", kLanes,       kTileVectors, kLanes > 1,
                                   false,  packed_bytes, pack,         one,
                                   few,    nullptr};
