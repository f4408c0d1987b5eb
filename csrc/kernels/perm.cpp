// perm: sparse, one observation, one chain per lane; inputs come from registers, not
// from gathers.
//
//   block    kLanes chains side by side (a chain is a run of a row)
//   step     two chunks of kLanes inputs, a and b; every lane looks its next input up
//   in them with one
//            permute and adds w * x. A lane whose next input is elsewhere waits, with
//            weight 0.
//   group    four blocks in lockstep: four independent sums hide the latency of the FMA
//              [a0 b0 a1 b1 a2 b2 a3 b3] [places: 4 bytes per lane] [w block 0 .. w
//              block 3]
//
// Fast because a step costs three vector loads, a permute and an FMA for up to kLanes
// weights, where a scalar CSR loop pays a load of the input for each. How many lanes
// work in a step (the fill) depends on the order the row is stored in: `policy.repack`
// lays it down for one kLanes; any other order is followed exactly, with more steps. It
// loses to dense above about half the weights, and to csr where hardly any are left.
//
// A waiting lane multiplies some input by 0, which is NaN if that input is Inf or NaN.
// So a sum that is not finite makes the layer be done again by a careful loop that
// knows which lanes wait.
#include "core/kernel.h"
#include "simd/activation.h"
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
  long stream;
};

// Bytes of one step of `blocks` blocks.
constexpr long step_bytes(int blocks) { return 8 + kPlaceBytes + 4L * blocks * kLanes; }

inline int blocks_of(int chains, int group) {
  const int left = chains - group * kGroupChains;
  return left >= kGroupChains ? kBlocks : (left + kLanes - 1) / kLanes;
}

inline int length_of(const LayerView& layer, int chain) {
  return layer.indptr[chain + 1] - layer.indptr[chain];
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
      if (sum > best_weight) {
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
    if (length_of(layer, i) > length_of(layer, i - 1)) return false;
  }
  return true;
}

Header layout(const LayerView& layer) {
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
  h.stream = h.steps + round_up(4L * h.groups, 64);
  return h;
}

// Which chain sits in which lane, block by block, without memory of its own:
// `visit(block, order)` is called with the kLanes chains of every block.
template <typename Visit>
void for_each_block(const LayerView& layer, const Header& h, Visit visit) {
  int order[kLanes];
  const int blocks = (h.chains + kLanes - 1) / kLanes;
  int chain = -1;   // last chain handed out
  int length = -1;  // its length, while sorting
  for (int i = 0; h.sorted && i < h.chains; ++i) {
    if (length_of(layer, i) > length) length = length_of(layer, i);
  }
  for (int block = 0; block < blocks; ++block) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const bool none = block * kLanes + lane >= h.chains;
      ++chain;
      while (!none && h.sorted &&
             (chain == h.chains || length_of(layer, chain) != length)) {
        if (chain == h.chains) {
          chain = 0;
          --length;
        } else {
          ++chain;
        }
      }
      order[lane] = none ? -1 : chain;
    }
    visit(block, order);
  }
}

std::size_t packed_bytes(const LayerView& layer, Path) {
  if (layer.in > kMaxChunks * kLanes) return 0;
  const Header h = layout(layer);
  long bytes = h.stream;
  int steps = 0;
  for_each_block(layer, h, [&](int block, const int* order) {
    const int own = steps_of_block(layer, order);
    steps = block % kBlocks == 0 || own > steps ? own : steps;
    const int group = block / kBlocks;
    if (block % kBlocks + 1 == blocks_of(h.chains, group)) {
      bytes += steps * step_bytes(blocks_of(h.chains, group));
    }
  });
  return static_cast<std::size_t>(round_up(bytes, 64));
}

// Writes the steps of one block into its places of the group's stream; returns how many
// there are.
int pack_block(const LayerView& layer, const int* order, int block, int blocks,
               char* stream) {
  Walk walk(layer, order);
  int steps = 0;
  for (; !walk.done(); ++steps) {
    int a = 0;
    int b = 0;
    int entry[kLanes];
    walk.step(&a, &b, entry);
    char* step = stream + steps * step_bytes(blocks);
    step[2 * block] = static_cast<char>(a);
    step[2 * block + 1] = static_cast<char>(b);
    unsigned char* place = reinterpret_cast<unsigned char*>(step + 8);
    float* weight = reinterpret_cast<float*>(step + 8 + kPlaceBytes) + block * kLanes;
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

void pack(const LayerView& layer, Path path, void* packed) {
  const Header h = layout(layer);
  char* base = static_cast<char*>(packed);
  __builtin_memset(base, 0, packed_bytes(layer, path));
  __builtin_memcpy(base, &h, sizeof h);
  float* starts = reinterpret_cast<float*>(base + h.starts);
  int* orders = reinterpret_cast<int*>(base + h.order);
  int* steps = reinterpret_cast<int*>(base + h.steps);
  char* stream = base + h.stream;
  for_each_block(layer, h, [&](int block, const int* order) {
    const int group = block / kBlocks;
    const int blocks = blocks_of(h.chains, group);
    for (int lane = 0; lane < kLanes; ++lane) {
      const int chain = order[lane];
      orders[block * kLanes + lane] = chain;
      const bool first = chain >= 0 && chain % layer.runs == 0;
      starts[block * kLanes + lane] = first ? layer.bias[chain / layer.runs] : 0.0f;
    }
    const int own = pack_block(layer, order, block % kBlocks, blocks, stream);
    if (own > steps[group]) steps[group] = own;
    if (block % kBlocks + 1 == blocks) stream += steps[group] * step_bytes(blocks);
  });
}

struct Packed {
  const Header& h;
  const float* starts;
  const int* order;
  const int* steps;
  const char* stream;
};

inline Packed open(const void* packed) {
  const char* base = static_cast<const char*>(packed);
  const Header& h = *reinterpret_cast<const Header*>(base);
  return {h, reinterpret_cast<const float*>(base + h.starts),
          reinterpret_cast<const int*>(base + h.order),
          reinterpret_cast<const int*>(base + h.steps), base + h.stream};
}

// One group of B blocks; returns whether all sums are finite.
template <int B>
bool run_group(const float* starts, const char* stream, int steps, const float* x,
               vec* acc) {
#pragma GCC unroll 4
  for (int i = 0; i < B; ++i) acc[i] = load(starts + i * kLanes);
  for (int s = 0; s < steps; ++s) {
    unsigned long chunks;
    __builtin_memcpy(&chunks, stream, 8);
    ivec places = load_bytes(stream + 8);
    const float* weight = reinterpret_cast<const float*>(stream + 8 + kPlaceBytes);
#pragma GCC unroll 4
    for (int i = 0; i < B; ++i) {
      const float* a = x + ((chunks >> (16 * i)) & 0xff) * kLanes;
      const float* b = x + ((chunks >> (16 * i + 8)) & 0xff) * kLanes;
      acc[i] = fma(load(weight + i * kLanes), lookup(a, b, places), acc[i]);
      places = next_byte(places);
    }
    stream += step_bytes(B);
  }
  bool finite = true;
#pragma GCC unroll 4
  for (int i = 0; i < B; ++i) {
    finite = finite && all(less(magnitude(acc[i]), splat(__builtin_inff())));
  }
  return finite;
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

template <int B>
bool group_of(const Packed& p, int group, const char* stream, const float* x,
              float* y) {
  const int first = group * kGroupChains;
  vec acc[kBlocks];
  const bool finite = run_group<B>(p.starts + first, stream, p.steps[group], x, acc);
#pragma GCC unroll 4
  for (int i = 0; i < B; ++i) {
    const int lane = first + i * kLanes;
    put(p.h, p.order + lane, acc[i], p.h.sorted ? y : y + lane);
  }
  return finite;
}

void careful(const Packed& p, const float* x, float* y) {
  const char* stream = p.stream;
  for (int group = 0; group < p.h.groups; ++group) {
    const int blocks = blocks_of(p.h.chains, group);
    for (int i = 0; i < blocks * kLanes; ++i) {
      const int lane = group * kGroupChains + i;
      if (p.order[lane] < 0) continue;
      float acc = p.starts[lane];
      for (int s = 0; s < p.steps[group]; ++s) {
        const char* step = stream + s * step_bytes(blocks);
        const int block = i / kLanes;
        const auto place =
            static_cast<unsigned char>(step[8 + 4 * (i % kLanes) + block]);
        if (!(place & kWorks)) continue;
        const int within = place & (2 * kLanes - 1);
        const auto chunk =
            static_cast<unsigned char>(step[2 * block + (within >= kLanes ? 1 : 0)]);
        const float weight = reinterpret_cast<const float*>(step + 8 + kPlaceBytes)[i];
        acc = __builtin_fmaf(weight, x[chunk * kLanes + within % kLanes], acc);
      }
      y[p.order[lane]] = acc;
    }
    stream += p.steps[group] * step_bytes(blocks);
  }
}

void one(const void* packed, const float* x, float* y) {
  const Packed p = open(packed);
  const Header& h = p.h;
  const char* stream = p.stream;
  bool finite = true;
  for (int group = 0; group < h.groups; ++group) {
    const int blocks = blocks_of(h.chains, group);
    bool ok = true;
    switch (blocks) {
      case 1: ok = group_of<1>(p, group, stream, x, y); break;
      case 2: ok = group_of<2>(p, group, stream, x, y); break;
      case 3: ok = group_of<3>(p, group, stream, x, y); break;
      default: ok = group_of<4>(p, group, stream, x, y); break;
    }
    finite = finite && ok;
    stream += p.steps[group] * step_bytes(blocks);
  }
  if (!finite) careful(p, x, y);
  if (h.runs > 1) join_chains(y, h.out, h.runs, 1);
  const bool stored_finished = in_register(h.activation) && h.runs == 1 && !h.sorted;
  if (!stored_finished || !finite) {
    activate(h.activation, h.alpha, y, round_up(h.out, kLanes));
  }
}

}  // namespace

const Kernel SPARSEAGENT_SYMBOL = {"perm",       kLanes, kLanes > 1, false,
                                   packed_bytes, pack,   one,        nullptr};
