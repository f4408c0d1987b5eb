#include "core/packer.h"

#include <algorithm>
#include <numeric>

namespace sparseagent {
namespace {

// An entry of a chain: where it stands in the layer, and which chunk of the input it
// needs.
struct Entry {
  std::int32_t entry;
  std::int32_t chunk;
};

using Chain = std::vector<Entry>;

// The kernel walks four blocks of `lanes` chains in lockstep: fewer chains than that
// leave it idle, but a chain of less than about four entries is not worth its start and
// its join.
std::int32_t runs_for(const LayerView& layer, std::int32_t lanes) {
  const std::int32_t room = std::max(1, 4 * lanes / layer.out);
  const std::int32_t worth = std::max(1, layer.nnz() / (4 * layer.out));
  return std::min({room, worth, 8});
}

std::vector<std::int32_t> rows_by_length(const LayerView& layer) {
  std::vector<std::int32_t> rows(static_cast<std::size_t>(layer.out));
  std::iota(rows.begin(), rows.end(), 0);
  const auto length = [&](std::int32_t r) {
    return layer.indptr[(r + 1) * layer.runs] - layer.indptr[r * layer.runs];
  };
  std::stable_sort(rows.begin(), rows.end(), [&](std::int32_t a, std::int32_t b) {
    return length(a) > length(b);
  });
  return rows;
}

// The row's entries by column, cut into `runs` nearly equal pieces: few chunks in each.
void cut_row(const LayerView& layer, std::int32_t row, std::int32_t runs,
             std::int32_t lanes, std::vector<Chain>* chains) {
  Chain all;
  for (std::int32_t k = layer.indptr[row * layer.runs];
       k < layer.indptr[(row + 1) * layer.runs]; ++k) {
    all.push_back({k, layer.indices[k] / lanes});
  }
  std::sort(all.begin(), all.end(), [&](const Entry& a, const Entry& b) {
    return layer.indices[a.entry] < layer.indices[b.entry];
  });
  const auto size = static_cast<std::int32_t>(all.size());
  for (std::int32_t s = 0; s < runs; ++s) {
    chains->emplace_back(all.begin() + size * s / runs,
                         all.begin() + size * (s + 1) / runs);
  }
}

// One block of chains, side by side. Each step names two chunks; every chain that still
// needs an input from one of them takes one. The steps are as many as the longest chain
// needs at least, so a step is worth the work it saves the chains with most left to do.
class Block {
 public:
  Block(Chain* chains, std::int32_t count, std::int32_t chunks)
      : chains_(chains),
        count_(count),
        chunks_(chunks),
        lanes_of_(chunks),
        left_(count) {
    for (std::int32_t lane = 0; lane < count; ++lane) {
      left_[lane] = static_cast<std::int32_t>(chains[lane].size());
      for (const Entry& e : chains[lane]) add(e.chunk, lane);
    }
    needs_.assign(static_cast<std::size_t>(count) * chunks, 0);
    for (std::int32_t lane = 0; lane < count; ++lane) {
      for (const Entry& e : chains[lane]) ++needs(lane, e.chunk);
    }
  }

  // Puts the entries of every chain into the order in which the steps take them.
  void order() {
    std::vector<std::vector<std::int32_t>> taken(static_cast<std::size_t>(count_));
    while (*std::max_element(left_.begin(), left_.end()) > 0) {
      const auto [a, b] = best_pair();
      for (std::int32_t lane = 0; lane < count_; ++lane) {
        const std::int32_t in_a = needs(lane, a);
        const std::int32_t in_b = a == b ? 0 : needs(lane, b);
        if (in_a + in_b == 0) continue;
        const std::int32_t chunk = in_a >= in_b ? a : b;
        taken[static_cast<std::size_t>(lane)].push_back(chunk);
        --left_[lane];
        if (--needs(lane, chunk) == 0) remove(chunk, lane);
      }
    }
    for (std::int32_t lane = 0; lane < count_; ++lane) {
      reorder(&chains_[lane], taken[static_cast<std::size_t>(lane)]);
    }
  }

 private:
  std::int32_t& needs(std::int32_t lane, std::int32_t chunk) {
    return needs_[static_cast<std::size_t>(lane) * chunks_ + chunk];
  }
  void add(std::int32_t chunk, std::int32_t lane) { lanes_of_[chunk] |= 1u << lane; }
  void remove(std::int32_t chunk, std::int32_t lane) {
    lanes_of_[chunk] &= ~(1u << lane);
  }

  // What covering these lanes is worth: a lane counts more the more it has left.
  // The longest lanes bound the number of steps; the others only fill them.
  std::int32_t worth(std::uint32_t lanes) const {
    return 2 * count_bits(lanes) + count_bits(lanes & longest_);
  }

  // Every x86-64 CPU runs this code: it may not have an instruction for it.
  static std::int32_t count_bits(std::uint32_t bits) {
    bits -= (bits >> 1) & 0x55555555u;
    bits = (bits & 0x33333333u) + ((bits >> 2) & 0x33333333u);
    return static_cast<std::int32_t>(
        (((bits + (bits >> 4)) & 0x0f0f0f0fu) * 0x01010101u) >> 24);
  }

  std::pair<std::int32_t, std::int32_t> best_pair() {
    const std::int32_t most = *std::max_element(left_.begin(), left_.end());
    longest_ = 0;
    for (std::int32_t lane = 0; lane < count_; ++lane) {
      if (left_[lane] + 2 >= most) longest_ |= 1u << lane;
    }
    // The best partners of the few best single chunks: nearly as good as all pairs, far
    // cheaper.
    order_.resize(static_cast<std::size_t>(chunks_));
    single_.resize(static_cast<std::size_t>(chunks_));
    std::iota(order_.begin(), order_.end(), 0);
    for (std::int32_t c = 0; c < chunks_; ++c) single_[c] = worth(lanes_of_[c]);
    const auto first = std::min<std::ptrdiff_t>(6, chunks_);
    std::partial_sort(order_.begin(), order_.begin() + first, order_.end(),
                      [&](std::int32_t a, std::int32_t b) {
                        return single_[a] != single_[b] ? single_[a] > single_[b]
                                                        : a < b;
                      });
    std::pair<std::int32_t, std::int32_t> best = {order_[0], order_[0]};
    std::int32_t best_worth = single_[order_[0]];
    for (std::ptrdiff_t i = 0; i < first; ++i) {
      const std::int32_t a = order_[i];
      for (std::int32_t b = 0; b < chunks_; ++b) {
        if (single_[a] + single_[b] <= best_worth) continue;
        const std::int32_t both = worth(lanes_of_[a] | lanes_of_[b]);
        if (both > best_worth) {
          best_worth = both;
          best = {a, b};
        }
      }
    }
    return best;
  }

  static void reorder(Chain* chain, const std::vector<std::int32_t>& chunks) {
    // Entries of one chunk keep their order among themselves: they are sorted by
    // column.
    Chain ordered;
    std::vector<bool> used(chain->size(), false);
    for (const std::int32_t chunk : chunks) {
      for (std::size_t i = 0; i < chain->size(); ++i) {
        if (used[i] || (*chain)[i].chunk != chunk) continue;
        used[i] = true;
        ordered.push_back((*chain)[i]);
        break;
      }
    }
    *chain = std::move(ordered);
  }

  Chain* chains_;
  std::int32_t count_;
  std::int32_t chunks_;
  std::vector<std::uint32_t>
      lanes_of_;                     // [chunks]: which lanes still need an input of it
  std::vector<std::int32_t> needs_;  // [lanes, chunks]: how many
  std::vector<std::int32_t> left_;   // [lanes]
  std::uint32_t longest_ = 0;        // lanes with (nearly) the most left to do
  std::vector<std::int32_t> order_;
  std::vector<std::int32_t> single_;
};

}  // namespace

Packing pack_for_lanes(const LayerView& layer, std::int32_t lanes, bool free_rows) {
  Packing packing;
  packing.runs = runs_for(layer, lanes);
  packing.rows.resize(static_cast<std::size_t>(layer.out));
  std::iota(packing.rows.begin(), packing.rows.end(), 0);
  if (free_rows) packing.rows = rows_by_length(layer);
  std::vector<Chain> chains;
  for (const std::int32_t row : packing.rows) {
    cut_row(layer, row, packing.runs, lanes, &chains);
  }
  const std::int32_t chunks = (layer.in + lanes - 1) / lanes;
  const auto count = static_cast<std::int32_t>(chains.size());
  for (std::int32_t first = 0; first < count; first += lanes) {
    Block(&chains[static_cast<std::size_t>(first)], std::min(lanes, count - first),
          chunks)
        .order();
  }
  packing.indptr.push_back(0);
  for (const Chain& chain : chains) {
    for (const Entry& e : chain) packing.entries.push_back(e.entry);
    packing.indptr.push_back(static_cast<std::int32_t>(packing.entries.size()));
  }
  return packing;
}

}  // namespace sparseagent
