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

// The kernel walks so many blocks of `lanes` chains in lockstep.
constexpr std::int32_t kBlocksTogether = 4;

// Fewer chains than that leave the kernel idle, but a chain of less than about four
// entries is not worth its start and its join.
std::int32_t runs_for(const LayerView& layer, std::int32_t lanes) {
  const std::int32_t room = std::max(1, kBlocksTogether * lanes / layer.out);
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

// Chain i goes to place places[i].
std::vector<Chain> in_places(std::vector<Chain> chains,
                             const std::vector<std::int32_t>& places) {
  std::vector<Chain> placed(chains.size());
  for (std::size_t i = 0; i < chains.size(); ++i) {
    placed[static_cast<std::size_t>(places[i])] = std::move(chains[i]);
  }
  return placed;
}

// Finds the entries of a row by column. Rows are long and columns few, so marks in a
// bit set are quicker than sorting.
class RowSorter {
 public:
  RowSorter(const LayerView& layer, std::int32_t lanes)
      : layer_(layer),
        lanes_(lanes),
        marks_(static_cast<std::size_t>(layer.in) / 64 + 1),
        entry_at_(static_cast<std::size_t>(layer.in)) {}

  // Deals the row's entries out to `runs` chains: those of one chunk go to different
  // chains, so that a step finds one for many lanes.
  void deal(std::int32_t row, std::int32_t runs, std::vector<Chain>* chains) {
    sort(row);
    for (std::int32_t s = 0; s < runs; ++s) {
      Chain chain;
      for (auto i = static_cast<std::size_t>(s); i < sorted_.size();
           i += static_cast<std::size_t>(runs)) {
        chain.push_back(sorted_[i]);
      }
      chains->push_back(std::move(chain));
    }
  }

 private:
  void sort(std::int32_t row) {
    const std::int32_t first = layer_.indptr[row * layer_.runs];
    const std::int32_t end = layer_.indptr[(row + 1) * layer_.runs];
    for (std::int32_t k = first; k < end; ++k) {
      const auto column = static_cast<std::size_t>(layer_.indices[k]);
      marks_[column / 64] |= std::uint64_t{1} << column % 64;
      entry_at_[column] = k;
    }
    sorted_.clear();
    for (std::size_t word = 0; word < marks_.size(); ++word) {
      for (std::uint64_t bits = marks_[word]; bits != 0; bits &= bits - 1) {
        const std::size_t column =
            64 * word + static_cast<std::size_t>(__builtin_ctzll(bits));
        sorted_.push_back(
            {entry_at_[column], static_cast<std::int32_t>(column) / lanes_});
      }
      marks_[word] = 0;
    }
  }

  const LayerView& layer_;
  const std::int32_t lanes_;
  std::vector<std::uint64_t> marks_;    // one bit per column
  std::vector<std::int32_t> entry_at_;  // [in], valid where marked
  Chain sorted_;
};

// A set of lanes, one bit each, and what covering it is worth. 16 bits wide, so that
// the plainest x86-64 or Arm machine weighs eight sets with a few vector instructions;
// the compiler does that, as the loops below are simple.
using Lanes = std::uint16_t;

// The longest lanes bound the number of steps and count three times; the others only
// fill the steps and count twice.
inline Lanes worth(Lanes lanes, Lanes longest) {
  const auto bits_of_four = [](Lanes v) {
    v = static_cast<Lanes>(v - ((v >> 1) & 0x5555));
    return static_cast<Lanes>((v & 0x3333) + ((v >> 2) & 0x3333));
  };
  auto sum = static_cast<Lanes>(2 * bits_of_four(lanes) +
                                bits_of_four(static_cast<Lanes>(lanes & longest)));
  sum = static_cast<Lanes>((sum & 0x0f0f) + ((sum >> 4) & 0x0f0f));
  return static_cast<Lanes>((sum + (sum >> 8)) & 0xff);
}

// One group: up to four blocks of `lanes` chains side by side, walked in lockstep. Each
// step names one chunk that all blocks share and one more for every block; every chain
// that still needs an input from one of its two takes one. The steps are as many as the
// longest chain needs at least, so a step is worth the work it saves the chains with
// most left to do.
class Group {
 public:
  Group(Chain* chains, std::int32_t count, std::int32_t lanes, std::int32_t chunks)
      : chains_(chains),
        count_(count),
        lanes_(lanes),
        blocks_((count + lanes - 1) / lanes),
        chunks_(static_cast<std::size_t>(chunks)),
        places_(static_cast<std::size_t>(count) * chunks_),
        left_(static_cast<std::size_t>(count)),
        lanes_of_(static_cast<std::size_t>(blocks_) * chunks_),
        needs_(lanes_of_.size()),
        worth_(chunks_),
        alone_(chunks_) {
    for (std::int32_t i = 0; i < count; ++i) {
      const Chain& chain = chains[i];
      left_[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(chain.size());
      for (std::size_t k = 0; k < chain.size(); ++k) {
        Place& place = place_of(i, chain[k].chunk);
        if (place.left++ == 0) place.next = static_cast<std::int32_t>(k);
        const std::size_t at = at_of(i / lanes_, chain[k].chunk);
        lanes_of_[at] |= static_cast<Lanes>(1u << i % lanes_);
        ++needs_[at];
      }
    }
  }

  // Puts the entries of every chain into the order in which the steps take them;
  // entries of one chunk stay in the order of their columns. Chains stay ascending
  // where that is no worse.
  void order() {
    const std::int32_t in_pairs = steps_in_pairs();
    std::int32_t left = longest();
    if (in_pairs == left) return;
    std::vector<Chain> ordered(static_cast<std::size_t>(count_));
    std::int32_t steps = 0;
    for (; left > 0; left = longest(), ++steps) {
      const Step step = best_step(left);
      for (std::int32_t i = 0; i < count_; ++i) {
        const std::int32_t other = step.own[i / lanes_];
        const std::int32_t in_shared = place_of(i, step.shared).left;
        const std::int32_t in_own = other == step.shared ? 0 : place_of(i, other).left;
        if (in_shared + in_own == 0) continue;
        const std::int32_t chunk = in_shared >= in_own ? step.shared : other;
        Place& place = place_of(i, chunk);
        const auto next = static_cast<std::size_t>(place.next++);
        ordered[static_cast<std::size_t>(i)].push_back(chains_[i][next]);
        --left_[static_cast<std::size_t>(i)];
        const std::size_t at = at_of(i / lanes_, chunk);
        --needs_[at];
        if (--place.left == 0) lanes_of_[at] &= static_cast<Lanes>(~(1u << i % lanes_));
      }
    }
    if (steps < in_pairs) std::move(ordered.begin(), ordered.end(), chains_);
  }

 private:
  // What a chain still needs of a chunk: `left` entries from place `next` of the chain.
  struct Place {
    std::int32_t next = 0;
    std::int32_t left = 0;
  };

  struct Step {
    std::int32_t shared;
    std::int32_t own[kBlocksTogether];
    std::int32_t worth;
  };

  Place& place_of(std::int32_t chain, std::int32_t chunk) {
    return places_[static_cast<std::size_t>(chain) * chunks_ +
                   static_cast<std::size_t>(chunk)];
  }

  std::size_t at_of(std::int32_t block, std::int32_t chunk) const {
    return static_cast<std::size_t>(block) * chunks_ + static_cast<std::size_t>(chunk);
  }

  // The steps of ascending chains that go through neighbouring chunks in pairs: no more
  // than the longest chain needs with lane-balanced masks, where all chains have
  // equally many entries in each pair.
  std::int32_t steps_in_pairs() {
    const auto chunks = static_cast<std::int32_t>(chunks_);
    std::int32_t steps = 0;
    for (std::int32_t c = 0; c < chunks; c += 2) {
      std::int32_t most = 0;
      for (std::int32_t i = 0; i < count_; ++i) {
        const std::int32_t next = c + 1 < chunks ? place_of(i, c + 1).left : 0;
        most = std::max(most, place_of(i, c).left + next);
      }
      steps += most;
    }
    return steps;
  }

  std::int32_t longest() const { return *std::max_element(left_.begin(), left_.end()); }

  // The lanes of each block that have nearly as much left to do as the longest chain.
  void mark_longest(std::int32_t most) {
    for (Lanes& lanes : longest_) lanes = 0;
    for (std::int32_t i = 0; i < count_; ++i) {
      if (left_[static_cast<std::size_t>(i)] + 2 >= most)
        longest_[i / lanes_] |= static_cast<Lanes>(1u << i % lanes_);
    }
  }

  // worth_[c] = worth to a block of the lanes of chunk c together with `given`. Among
  // equal ones the chunk counts more that is needed more: using up the most needed
  // first leaves fewer half-filled steps for the end.
  void weigh(std::int32_t block, Lanes given) {
    const Lanes* lanes = lanes_of_.data() + at_of(block, 0);
    const std::uint16_t* needs = needs_.data() + at_of(block, 0);
    const Lanes longest = longest_[block];
    std::uint16_t* to = worth_.data();
    for (std::size_t c = 0; c < chunks_; ++c) {
      const std::uint16_t need = std::min<std::uint16_t>(needs[c], kMostNeed);
      to[c] = static_cast<std::uint16_t>(
          worth(static_cast<Lanes>(lanes[c] | given), longest) * (kMostNeed + 1) +
          need);
    }
  }

  // The chunks that are worth most to all blocks by themselves, equal ones in their own
  // order.
  std::int32_t best_alone(std::int32_t* best) {
    std::fill(alone_.begin(), alone_.end(), 0);
    for (std::int32_t block = 0; block < blocks_; ++block) {
      weigh(block, 0);
      for (std::size_t c = 0; c < chunks_; ++c) alone_[c] += worth_[c];
    }
    std::int32_t count = 0;
    for (std::int32_t c = 0; c < static_cast<std::int32_t>(chunks_); ++c) {
      const auto better = [&](std::int32_t other) {
        return alone_[static_cast<std::size_t>(c)] >
               alone_[static_cast<std::size_t>(other)];
      };
      if (count == kShared && !better(best[count - 1])) continue;
      std::int32_t at = count < kShared ? count++ : kShared - 1;
      for (; at > 0 && better(best[at - 1]); --at) best[at] = best[at - 1];
      best[at] = c;
    }
    return count;
  }

  // Every block's best partner for the few chunks that are worth most alone: nearly as
  // good as all pairs, far cheaper.
  Step best_step(std::int32_t most) {
    mark_longest(most);
    std::int32_t shared[kShared];
    const std::int32_t count = best_alone(shared);
    Step best = {};
    for (std::int32_t i = 0; i < count; ++i) {
      Step step = {shared[i], {}, 0};
      for (std::int32_t block = 0; block < blocks_; ++block) {
        const std::size_t at = at_of(block, step.shared);
        weigh(block, lanes_of_[at]);
        worth_[static_cast<std::size_t>(step.shared)] = 0;
        const auto own = std::max_element(worth_.begin(), worth_.end());
        step.own[block] = static_cast<std::int32_t>(own - worth_.begin());
        step.worth += *own + std::min<std::int32_t>(needs_[at], kMostNeed);
      }
      if (i == 0 || step.worth > best.worth) best = step;
    }
    return best;
  }

  static constexpr std::int32_t kShared = 6;
  // 48 lanes' worth at most, and this, in 16 bits; sums of two stay below the next
  // worth for needs of up to half of it, which is what 16 lanes have in practice.
  static constexpr std::uint16_t kMostNeed = 1023;

  Chain* chains_;
  std::int32_t count_;
  std::int32_t lanes_;
  std::int32_t blocks_;
  std::size_t chunks_;
  std::vector<Place> places_;       // [chains, chunks]
  std::vector<std::int32_t> left_;  // [chains]
  std::vector<Lanes> lanes_of_;     // [blocks, chunks]: who still needs an input of it
  std::vector<std::uint16_t> needs_;  // [blocks, chunks]: how many inputs, all lanes
  std::vector<std::uint16_t> worth_;  // [chunks], of one block
  std::vector<std::int32_t> alone_;   // [chunks], of all blocks
  Lanes longest_[kBlocksTogether] = {};
};

}  // namespace

Packing pack_for_lanes(const LayerView& layer, std::int32_t lanes, bool free_rows) {
  Packing packing;
  packing.runs = runs_for(layer, lanes);
  std::vector<std::int32_t> in_order(static_cast<std::size_t>(layer.out));
  std::iota(in_order.begin(), in_order.end(), 0);
  packing.rows = free_rows ? rows_by_length(layer) : in_order;
  // The kernel takes single chains by falling length even where they keep their places:
  // those that it will take together must be ordered together.
  const std::vector<std::int32_t> taken =
      packing.runs == 1 ? rows_by_length(layer) : packing.rows;
  std::vector<Chain> chains;
  RowSorter sorter(layer, lanes);
  for (const std::int32_t row : taken) sorter.deal(row, packing.runs, &chains);
  const std::int32_t chunks = (layer.in + lanes - 1) / lanes;
  const auto count = static_cast<std::int32_t>(chains.size());
  const std::int32_t together = kBlocksTogether * lanes;
  for (std::int32_t first = 0; first < count; first += together) {
    Group(&chains[static_cast<std::size_t>(first)], std::min(together, count - first),
          lanes, chunks)
        .order();
  }
  if (taken != packing.rows) chains = in_places(std::move(chains), taken);
  packing.indptr.push_back(0);
  for (const Chain& chain : chains) {
    for (const Entry& e : chain) packing.entries.push_back(e.entry);
    packing.indptr.push_back(static_cast<std::int32_t>(packing.entries.size()));
  }
  return packing;
}

}  // namespace sparseagent
