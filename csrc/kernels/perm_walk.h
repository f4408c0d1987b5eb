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

// Walks the chains of one group in their stored order and chooses the chunks of every
// step: those that most lanes are waiting for.
class Walk {
 public:
  // order: the chain of every lane of the group, -1 for none.
  Walk(const LayerView& layer, const int* order, int blocks)
      : layer_(layer), blocks_(blocks) {
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
    for (int i = 0; i < lanes; ++i) {
      if (end_[i] - at_[i] > longest) longest = end_[i] - at_[i];
    }
    for (int i = 0; i < lanes; ++i) {
      const int left = end_[i] - at_[i];
      head_[i] = left > 0 ? layer_.indices[at_[i]] / kLanes : -1;
      // The longest chains bound the number of steps.
      if (left > 0) wanted_[i / kLanes][head_[i]] += left + 2 >= longest ? 3 : 2;
    }
    choose(shared, own);
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
  int at_[kGroupChains];
  int end_[kGroupChains];
  int head_[kGroupChains];
  int wanted_[kBlocks][kMaxChunks];  // by the heads; all 0 between two steps
};

int steps_of_group(const LayerView& layer, const int* order, int blocks) {
  Walk walk(layer, order, blocks);
  int steps = 0;
  int shared = 0;
  int own[kBlocks];
  int entry[kGroupChains];
  for (; !walk.done(); ++steps) walk.step(&shared, own, entry);
  return steps;
}

}  // namespace
