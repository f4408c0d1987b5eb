// The order in which perm does the chains of one group: which chunks of inputs every
// step looks at, and which lanes find their next input there.
#pragma once

#include "core/layer.h"
#include "simd/chains.h"
#include "simd/vec.h"

namespace {

using sparseagent::LayerView;

constexpr int kBlocks = 4;
constexpr int kGroupChains = kBlocks * kLanes;
constexpr int kMaxChunks = 256;  // a chunk's number is a byte

// By what the chunks of a step are chosen.
enum class Rule {
  most,   // those that most lanes wait for, the longest chains first
  first,  // the same, but lanes that are behind come first: for ascending columns
  pairs,  // two neighbours, the first ones that a lane waits for: for ascending columns
          // that need equally much of each pair, or one chain much longer than others
};

// Worth of a lane that waits for the chunk so many behind the first that any waits for:
// 1.5^-n.
constexpr int kWorth[] = {1000, 667, 444, 296, 198, 132, 88, 59,
                          39,   26,  17,  12,  8,   5,   3,  2};
constexpr int kFurthest = sizeof(kWorth) / sizeof(kWorth[0]) - 1;

// Walks the chains of one group in their stored order and chooses the chunks of every
// step.
class Walk {
 public:
  // order: the chain of every lane of the group, -1 for none.
  Walk(const LayerView& layer, const int* order, int blocks, Rule rule)
      : layer_(layer), blocks_(blocks), rule_(rule) {
    for (int i = 0; i < blocks * kLanes; ++i) {
      at_[i] = order[i] < 0 ? 0 : layer.indptr[order[i]];
      end_[i] = order[i] < 0 ? 0 : layer.indptr[order[i] + 1];
    }
    __builtin_memset(wanted_, 0, sizeof wanted_);
  }

  bool done() const {
    for (int i = 0; i < blocks_ * kLanes; ++i) {
      if (at_[i] < end_[i]) return false;
    }
    return true;
  }

  // One step: the chunks, and for every lane its entry, or -1 if it waits.
  void step(int* shared, int* own, int* entry) {
    const int lanes = blocks_ * kLanes;
    int longest = 0;
    int first = kMaxChunks;
    for (int i = 0; i < lanes; ++i) {
      const int left = end_[i] - at_[i];
      head_[i] = left > 0 ? layer_.indices[at_[i]] / kLanes : -1;
      if (left > longest) longest = left;
      if (left > 0 && head_[i] < first) first = head_[i];
    }
    if (rule_ == Rule::pairs) {
      *shared = first / 2 * 2;
      const int next = *shared * kLanes + kLanes < layer_.in ? *shared + 1 : *shared;
      for (int block = 0; block < blocks_; ++block) own[block] = next;
    } else {
      want(longest, first);
      choose(shared, own);
    }
    for (int i = 0; i < lanes; ++i) {
      if (head_[i] >= 0) wanted_[i / kLanes][head_[i]] = 0;
      const bool takes =
          head_[i] >= 0 && (head_[i] == *shared || head_[i] == own[i / kLanes]);
      entry[i] = takes ? at_[i]++ : -1;
    }
  }

 private:
  // The two chunks that a block wants most, equal ones by number.
  struct Favourites {
    int chunk[2] = {-1, -1};
    int wanted[2] = {0, 0};

    void offer(int other, int much) {
      if (other == chunk[0] || other == chunk[1]) return;
      for (int i = 0; i < 2; ++i) {
        if (much < wanted[i] || (much == wanted[i] && other > chunk[i])) continue;
        if (i == 0) {
          chunk[1] = chunk[0];
          wanted[1] = wanted[0];
        }
        chunk[i] = other;
        wanted[i] = much;
        return;
      }
    }
  };

  void want(int longest, int first) {
    for (int i = 0; i < blocks_ * kLanes; ++i) {
      if (head_[i] < 0) continue;
      const int behind = head_[i] - first;
      // The longest chains bound the number of steps.
      const int worth = rule_ == Rule::first
                            ? kWorth[behind < kFurthest ? behind : kFurthest]
                        : end_[i] - at_[i] + 2 >= longest ? 3
                                                          : 2;
      wanted_[i / kLanes][head_[i]] += worth;
    }
  }

  // The shared chunk with which all blocks, each with its best other one, get most.
  void choose(int* shared, int* own) const {
    Favourites best[kBlocks];
    for (int i = 0; i < blocks_ * kLanes; ++i) {
      if (head_[i] >= 0)
        best[i / kLanes].offer(head_[i], wanted_[i / kLanes][head_[i]]);
    }
    int most = -1;
    *shared = 0;
    for (int i = 0; i < blocks_ * kLanes; ++i) {
      const int a = head_[i];
      if (a < 0) continue;
      int sum = 0;
      for (int block = 0; block < blocks_; ++block) {
        const Favourites& b = best[block];
        sum += wanted_[block][a] + b.wanted[b.chunk[0] == a ? 1 : 0];
      }
      if (sum < most || (sum == most && a >= *shared)) continue;
      most = sum;
      *shared = a;
    }
    for (int block = 0; block < blocks_; ++block) {
      const Favourites& b = best[block];
      const int other = b.chunk[b.chunk[0] == *shared ? 1 : 0];
      own[block] = other < 0 ? *shared : other;
    }
  }

  const LayerView& layer_;
  const int blocks_;
  const Rule rule_;
  int at_[kGroupChains];
  int end_[kGroupChains];
  int head_[kGroupChains];
  int wanted_[kBlocks][kMaxChunks];  // by the heads; all 0 between two steps
};

// At most `bound`.
int steps_of_group(const LayerView& layer, const int* order, int blocks, Rule rule,
                   int bound) {
  Walk walk(layer, order, blocks, rule);
  int steps = 0;
  int shared = 0;
  int own[kBlocks];
  int entry[kGroupChains];
  for (; steps < bound && !walk.done(); ++steps) walk.step(&shared, own, entry);
  return steps;
}

// Whether all chains of a group need their chunks in the order of the inputs.
bool ascends(const LayerView& layer, const int* order, int blocks) {
  for (int i = 0; i < blocks * kLanes; ++i) {
    if (order[i] < 0) continue;
    for (int k = layer.indptr[order[i]] + 1; k < layer.indptr[order[i] + 1]; ++k) {
      if (layer.indices[k - 1] / kLanes > layer.indices[k] / kLanes) return false;
    }
  }
  return true;
}

struct Shortest {
  Rule rule;
  int steps;
};

// Orders made for lookups are made for the rule `most`, so the others are not tried.
Shortest shortest_walk(const LayerView& layer, const int* order, int blocks) {
  // The best for ascending columns, as a rule, comes first: it bounds the others.
  constexpr Rule kRules[] = {Rule::first, Rule::pairs, Rule::most};
  Shortest best = {Rule::most, 1 << 30};
  for (int i = ascends(layer, order, blocks) ? 0 : 2; i < 3; ++i) {
    const int steps = steps_of_group(layer, order, blocks, kRules[i], best.steps);
    if (steps < best.steps) best = {kRules[i], steps};
  }
  return best;
}

}  // namespace
