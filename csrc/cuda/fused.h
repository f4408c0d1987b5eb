// The whole policy in one launch. A block, or the blocks of a cluster together, takes a
// tile of observations through all ops, with what lives in shared memory:
//
//   x [B, in] ->  | tile: places x columns | -> y [B, out]
//                 |  0   zeros             |
//                 |  1.. slots, by when    |
//                 |      they are needed   |
//
// Fast because nothing but observations, weights and outputs crosses global memory, and
// because one launch replaces some ten. It loses where few columns fit (programs of
// some thousand features) and, dense, against the matrix units from some hundred
// features and some thousand observations on.
//
// The arithmetic is the contract's (core/layer.h), instruction by instruction: every
// multiply-add is __fmaf_rn, and nothing here is left to the compiler to contract.
#pragma once

#include "cuda/columns.h"
#include "cuda/observe.h"
#include "cuda/rows.h"
#include "cuda/sample.h"

namespace sparseagent::cuda {

// Between two steps, and between tiles. Blocks of a cluster write each other's rows of
// a layer: nobody may still be reading what they replace, nor read before they are
// there.
template <bool kCluster>
__device__ __forceinline__ void wait(bool together) {
  if constexpr (kCluster) {
    if (together) return cluster_barrier();
  }
  __syncthreads();
}

template <bool kCluster, int V, int G>
__device__ __forceinline__ void run_step(const Net& net, const Call& call,
                                         const Step& step, const Block<V, G>& block,
                                         std::int64_t first, int count) {
  switch (step.kind) {
    case StepKind::observe: return observe(net, call, step, block, first, count);
    case StepKind::linear:
    case StepKind::map: return rows<kCluster>(net, step, block);
    case StepKind::norm: return norm(step, block);
    case StepKind::combine: return combine(net, step, block);
    case StepKind::reduce: return reduce_groups(net, step, block);
  }
}

template <int V, int G, bool kCluster>
SPARSEAGENT_KERNEL forward(const __grid_constant__ Net net,
                           const __grid_constant__ Call call) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
  if constexpr (kCluster) return;  // no plan launches it there
#endif
  Block<V, G> block(shared_memory());
  std::int64_t tile = blockIdx.x;
  std::int64_t tiles = gridDim.x;  // at a time
  if constexpr (kCluster) {
    block.rank = cluster_rank();
    block.blocks = cluster_size();
    tile /= block.blocks;
    tiles /= block.blocks;
  }
  constexpr std::int64_t kColumns = block.kColumns;
  for (int c = static_cast<int>(threadIdx.x); c < block.kColumns;
       c += static_cast<int>(blockDim.x)) {
    block.at(0, c) = 0.0f;
  }
  for (; tile * kColumns < call.batch; tile += tiles) {
    const std::int64_t first = tile * kColumns;
    const std::int64_t left = call.batch - first;
    const int count = static_cast<int>(left < kColumns ? left : kColumns);
    SPARSEAGENT_UNROLL(1)
    for (int n = 0; n < net.step_count; ++n) {
      run_step<kCluster>(net, call, net.steps[n], block, first, count);
      const bool linear = net.steps[n].kind == StepKind::linear;
      const bool next =
          n + 1 < net.step_count && net.steps[n + 1].kind == StepKind::linear;
      wait<kCluster>(linear || next);
    }
    if (block.rank == 0) {
      constexpr bool kSamples = samples(Shape{V, G}) && !kCluster;
      finish<kSamples>(net, call, block, first, count);
    }
    wait<kCluster>(true);
  }
}

}  // namespace sparseagent::cuda
