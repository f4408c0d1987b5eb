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

// One block of chains, side by side. Each step names two chunks; every chain that still
// needs an input from one of them takes one. The steps are as many as the longest chain
// needs at least, so a step is worth the work it saves the chains with most left to do.
class Block {
 public:
  Block(Chain* chains, std::int32_t count, std::int32_t chunks)
      : chains_(chains),
        count_(count),
        chunks_(chunks),
        places_(static_cast<std::size_t>(count) * static_cast<std::size_t>(chunks)),
        left_(static_cast<std::size_t>(count)),
        lanes_of_(static_cast<std::size_t>(chunks)),
        needs_(static_cast<std::size_t>(chunks)),
        worth_(static_cast<std::size_t>(chunks)) {
    for (std::int32_t lane = 0; lane < count; ++lane) {
      const Chain& chain = chains[lane];
      left_[static_cast<std::size_t>(lane)] = static_cast<std::int32_t>(chain.size());
      for (std::size_t i = 0; i < chain.size(); ++i) {
        Place& place = place_of(lane, chain[i].chunk);
        if (place.left++ == 0) place.next = static_cast<std::int32_t>(i);
        lanes_of_[static_cast<std::size_t>(chain[i].chunk)] |=
            static_cast<Lanes>(1u << lane);
        ++needs_[static_cast<std::size_t>(chain[i].chunk)];
      }
    }
  }

  // Puts the entries of every chain into the order in which the steps take them;
  // entries of one chunk stay in the order of their columns.
  void order() {
    std::vector<Chain> ordered(static_cast<std::size_t>(count_));
    while (*std::max_element(left_.begin(), left_.end()) > 0) {
      const auto [a, b] = best_pair();
      for (std::int32_t lane = 0; lane < count_; ++lane) {
        const std::int32_t in_a = place_of(lane, a).left;
        const std::int32_t in_b = a == b ? 0 : place_of(lane, b).left;
        if (in_a + in_b == 0) continue;
        const std::int32_t chunk = in_a >= in_b ? a : b;
        Place& place = place_of(lane, chunk);
        const auto next = static_cast<std::size_t>(place.next++);
        ordered[static_cast<std::size_t>(lane)].push_back(chains_[lane][next]);
        --left_[static_cast<std::size_t>(lane)];
        --needs_[static_cast<std::size_t>(chunk)];
        if (--place.left == 0) {
          lanes_of_[static_cast<std::size_t>(chunk)] &=
              static_cast<Lanes>(~(1u << lane));
        }
      }
    }
    std::move(ordered.begin(), ordered.end(), chains_);
  }

 private:
  // What a chain still needs of a chunk: `left` entries from place `next` of the chain.
  struct Place {
    std::int32_t next = 0;
    std::int32_t left = 0;
  };

  Place& place_of(std::int32_t lane, std::int32_t chunk) {
    return places_[static_cast<std::size_t>(lane) * static_cast<std::size_t>(chunks_) +
                   static_cast<std::size_t>(chunk)];
  }

  Lanes longest() const {
    const std::int32_t most = *std::max_element(left_.begin(), left_.end());
    Lanes lanes = 0;
    for (std::int32_t lane = 0; lane < count_; ++lane) {
      if (left_[static_cast<std::size_t>(lane)] + 2 >= most)
        lanes |= static_cast<Lanes>(1u << lane);
    }
    return lanes;
  }

  // worth_[c] = worth of the lanes of chunk c together with `given`. Among equal ones
  // the chunk counts more that is needed more: using up the most needed first leaves
  // fewer half-filled steps for the end.
  void weigh(Lanes given, Lanes longest) {
    const Lanes* lanes = lanes_of_.data();
    const std::uint16_t* needs = needs_.data();
    std::uint16_t* to = worth_.data();
    for (std::size_t c = 0; c < lanes_of_.size(); ++c) {
      const std::uint16_t need = std::min<std::uint16_t>(needs[c], kMostNeed);
      to[c] = static_cast<std::uint16_t>(
          worth(static_cast<Lanes>(lanes[c] | given), longest) * (kMostNeed + 1) +
          need);
    }
  }

  // The chunks that are worth most by themselves, equal ones in their own order.
  std::int32_t best_singles(std::int32_t* best) const {
    std::int32_t count = 0;
    for (std::int32_t c = 0; c < chunks_; ++c) {
      const std::uint16_t own = worth_[static_cast<std::size_t>(c)];
      const auto better = [&](std::int32_t other) {
        return own > worth_[static_cast<std::size_t>(other)];
      };
      if (count == kSingles && !better(best[count - 1])) continue;
      std::int32_t at = count < kSingles ? count++ : kSingles - 1;
      for (; at > 0 && better(best[at - 1]); --at) best[at] = best[at - 1];
      best[at] = c;
    }
    return count;
  }

  // The best partners of the few best single chunks: nearly as good as all pairs, far
  // cheaper.
  std::pair<std::int32_t, std::int32_t> best_pair() {
    const Lanes longest = this->longest();
    weigh(0, longest);
    std::int32_t singles[kSingles];
    const std::int32_t count = best_singles(singles);
    std::pair<std::int32_t, std::int32_t> best = {singles[0], singles[0]};
    std::int32_t most = worth_[static_cast<std::size_t>(singles[0])];
    for (std::int32_t i = 0; i < count; ++i) {
      const auto a = static_cast<std::size_t>(singles[i]);
      const std::int32_t need = std::min<std::int32_t>(needs_[a], kMostNeed);
      weigh(lanes_of_[a], longest);
      worth_[a] = 0;
      const auto b = std::max_element(worth_.begin(), worth_.end());
      if (*b + need <= most) continue;
      most = *b + need;
      best = {singles[i], static_cast<std::int32_t>(b - worth_.begin())};
    }
    return best;
  }

  static constexpr std::int32_t kSingles = 6;
  // 48 lanes' worth at most, and this, in 16 bits; sums of two stay below the next
  // worth for needs of up to half of it, which is what 16 lanes have in practice.
  static constexpr std::uint16_t kMostNeed = 1023;

  Chain* chains_;
  std::int32_t count_;
  std::int32_t chunks_;
  std::vector<Place> places_;         // [lanes, chunks]
  std::vector<std::int32_t> left_;    // [lanes]
  std::vector<Lanes> lanes_of_;       // [chunks]: which lanes still need an input of it
  std::vector<std::uint16_t> needs_;  // [chunks]: how many inputs of it, all lanes
  std::vector<std::uint16_t> worth_;  // [chunks]
};

}  // namespace

Packing pack_for_lanes(const LayerView& layer, std::int32_t lanes, bool free_rows) {
  Packing packing;
  packing.runs = runs_for(layer, lanes);
  packing.rows.resize(static_cast<std::size_t>(layer.out));
  std::iota(packing.rows.begin(), packing.rows.end(), 0);
  if (free_rows) packing.rows = rows_by_length(layer);
  std::vector<Chain> chains;
  RowSorter sorter(layer, lanes);
  for (const std::int32_t row : packing.rows) sorter.deal(row, packing.runs, &chains);
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
