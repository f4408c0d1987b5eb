// Layers and maps: a group of lanes takes a row of the layer, or a feature of the map.
//
// A layer is the CSR walk: for each pair of stored entries one 16-byte load, the same
// for all lanes of the group, and for each entry one load of shared memory and V fused
// multiply-adds in stored order. Rows come longest first and are dealt to and fro, so
// that all groups have about the same work.
#pragma once

#include "cuda/block.h"

namespace sparseagent::cuda {

// The pairwise tree over chains whose sums come one after the other: like a binary
// counter, level l holds the sum of 2^l neighbours. Equal to adding neighbours level by
// level with an odd one out moving up unchanged.
template <int V>
struct Tree {
  static constexpr int kLevels = 7;  // kMaxRuns = 64
  Columns<V> part[kLevels];

  __device__ __forceinline__ void push(int s, Columns<V> sum) {
    bool stored = false;
    SPARSEAGENT_UNROLL(7)
    for (int level = 0; level < kLevels; ++level) {
      if (!stored && ((s >> level) & 1) != 0) {
        for (int j = 0; j < V; ++j) sum.v[j] = __fadd_rn(part[level].v[j], sum.v[j]);
      } else if (!stored) {
        part[level] = sum;
        stored = true;
      }
    }
  }

  __device__ __forceinline__ Columns<V> total(int runs) const {
    Columns<V> sum = {};
    bool any = false;
    SPARSEAGENT_UNROLL(7)
    for (int level = 0; level < kLevels; ++level) {
      if (((runs >> level) & 1) == 0) continue;
      for (int j = 0; j < V; ++j) {
        sum.v[j] = any ? __fadd_rn(part[level].v[j], sum.v[j]) : part[level].v[j];
      }
      any = true;
    }
    return sum;
  }
};

template <int V, int G>
__device__ __forceinline__ Columns<V> chain(const Pair* pairs, std::uint32_t k,
                                            std::uint32_t end, const Block<V, G>& block,
                                            Columns<V> acc) {
  SPARSEAGENT_UNROLL(4)
  for (; k < end; ++k) {
    const uint4 pair = __ldg(reinterpret_cast<const uint4*>(pairs) + k);
    const Columns<V> a = block.read(pair.y);
    const Columns<V> b = block.read(pair.w);
    for (int j = 0; j < V; ++j) {
      acc.v[j] = __fmaf_rn(__uint_as_float(pair.x), a.v[j], acc.v[j]);
    }
    for (int j = 0; j < V; ++j) {
      acc.v[j] = __fmaf_rn(__uint_as_float(pair.z), b.v[j], acc.v[j]);
    }
  }
  return acc;
}

// The sums of one row.
template <int V, int G>
__device__ __forceinline__ Columns<V> row_sums(const Net& net, const Step& step,
                                               const uint4& row,
                                               const Block<V, G>& block) {
  Columns<V> sum;
  for (int j = 0; j < V; ++j) sum.v[j] = __uint_as_float(row.x);
  if (step.parts == 1) return chain(net.pairs, row.z, row.w, block, sum);
  Tree<V> tree;
  std::uint32_t first = row.z;
  SPARSEAGENT_UNROLL(1)
  for (int s = 0; s < step.parts; ++s) {
    const std::uint32_t end = __ldg(net.words + row.w + s);
    tree.push(s, chain(net.pairs, first, end, block, sum));
    for (int j = 0; j < V; ++j) sum.v[j] = 0.0f;
    first = end;
  }
  return tree.total(step.parts);
}

// The affine part of a map for feature f.
template <int V, int G>
__device__ __forceinline__ Columns<V> mapped(const Net& net, const Step& step, int f,
                                             const Block<V, G>& block) {
  Columns<V> x = block.read(block.offset(step.x + static_cast<std::uint32_t>(f)));
  if (step.bits & kWeighted) {
    const float scale = __uint_as_float(__ldg(net.words + step.words + f));
    const float shift = __uint_as_float(__ldg(net.words + step.words + step.in + f));
    for (int j = 0; j < V; ++j) x.v[j] = __fmaf_rn(scale, x.v[j], shift);
  }
  return x;
}

// One branch for all lanes of a group.
template <int V>
__device__ __forceinline__ void activate(Activation activation, float alpha,
                                         Columns<V>& sums) {
  with_activation(activation, alpha, [&](auto f) {
    for (int j = 0; j < V; ++j) sums.v[j] = f(vec{sums.v[j]}).v;
  });
}

template <int V>
__device__ __forceinline__ void bound(const Step& step, Columns<V>& x) {
  if ((step.bits & (kHasLow | kHasHigh)) == 0) return;
  OpView op;
  op.low = step.low;
  op.high = step.high;
  op.has_low = (step.bits & kHasLow) != 0;
  op.has_high = (step.bits & kHasHigh) != 0;
  for (int j = 0; j < V; ++j) x.v[j] = bounded(op, vec{x.v[j]}).v;
}

// The blocks of a cluster take their share of a layer's rows and write them to all of
// them; a map each does for itself.
template <bool kCluster, int V, int G>
__device__ __forceinline__ void rows(const Net& net, const Step& step,
                                     const Block<V, G>& block) {
  const bool linear = step.kind == StepKind::linear;
  const bool shares = kCluster && linear;
  int groups = block.groups;
  int group = block.group;
  if (shares) {
    group = group * static_cast<int>(block.blocks) + static_cast<int>(block.rank);
    groups *= static_cast<int>(block.blocks);
  }
  for (int from = 0; from < step.out; from += groups, group = groups - 1 - group) {
    const int p = from + group;
    if (p >= step.out) continue;
    Columns<V> sums;
    std::uint32_t to;
    if (linear) {
      const uint4 row = __ldg(reinterpret_cast<const uint4*>(net.rows) + step.rows + p);
      sums = row_sums(net, step, row, block);
      to = row.y;
    } else {
      sums = mapped(net, step, p, block);
      to = block.offset(step.y + static_cast<std::uint32_t>(p));
    }
    activate(step.activation, step.alpha, sums);
    bound(step, sums);
    if (shares) {
      char* at = block.tile + (to ^ block.turn());
      for (std::uint32_t r = 0; r < block.blocks; ++r) store_at(r, at, sums.v[0]);
    } else {
      block.write(to, sums);
    }
  }
}

}  // namespace sparseagent::cuda
