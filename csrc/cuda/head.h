// Outputs and deterministic actions: columns of the tile to rows in memory. The same as
// core/head.cpp.
#pragma once

#include "cuda/block.h"

namespace sparseagent::cuda {

// The largest of a choice's outputs wins, the first of equal ones; a NaN counts as the
// largest.
template <int V, int G>
__device__ __forceinline__ int largest(std::uint32_t place, int size, int c,
                                       const Block<V, G>& block) {
  int best = 0;
  float most = block.at(place, c);
  for (int i = 1; i < size && most == most; ++i) {
    const float y = block.at(place + static_cast<std::uint32_t>(i), c);
    if (y <= most) continue;
    best = i;
    most = y;
  }
  return best;
}

// A thread takes one number of one action.
template <int V, int G>
__device__ __forceinline__ void take_mode(const Net& net, const Block<V, G>& block,
                                          std::int64_t first, int count,
                                          std::int64_t* actions) {
  const Head& head = net.head;
  for (int i = static_cast<int>(threadIdx.x); i < count * head.actions;
       i += static_cast<int>(blockDim.x)) {
    const int c = i / head.actions;
    const int a = i % head.actions;
    std::uint32_t place = net.outputs[0].place;
    std::int64_t chosen = head.starts == nullptr ? 0 : __ldg(head.starts + a);
    if (head.sizes != nullptr) {
      for (int b = 0; b < a; ++b)
        place += static_cast<std::uint32_t>(__ldg(head.sizes + b));
      chosen += largest(place, __ldg(head.sizes + a), c, block);
    } else {
      chosen += block.at(place + static_cast<std::uint32_t>(a), c) > 0.0f ? 1 : 0;
    }
    actions[(first + c) * head.actions + a] = chosen;
  }
}

// A sample, or a mode, of number i between the bounds.
__device__ __forceinline__ float bounded_action(const Head& head, int i, float a) {
  if (head.bounds == HeadKind::raw) return a;
  const float low = __ldg(head.low + i);
  const float high = __ldg(head.high + i);
  if (head.bounds == HeadKind::unscale) {
    const float share = __fmul_rn(0.5f, __fadd_rn(a, 1.0f));
    return __fadd_rn(low, __fmul_rn(share, __fsub_rn(high, low)));
  }
  a = a < low ? low : a;
  return a > high ? high : a;
}

// A warp takes a column, its lanes neighbouring outputs.
template <int V, int G>
__device__ __forceinline__ void copy_output(const Net& net, const Output& output,
                                            bool acts, const Block<V, G>& block,
                                            std::int64_t first, int count,
                                            float* rows) {
  const int warps = static_cast<int>(blockDim.x) / 32;
  for (int c = static_cast<int>(threadIdx.x) / 32; c < count; c += warps) {
    float* to = rows + (first + c) * output.size;
    for (int i = static_cast<int>(threadIdx.x) % 32; i < output.size; i += 32) {
      float y = block.at(output.place + static_cast<std::uint32_t>(i), c);
      if (acts && net.head.squash) y = canonical(tanh(vec{y})).v;
      if (acts) y = bounded_action(net.head, i, y);
      to[i] = canonical(vec{y}).v;
    }
  }
}

}  // namespace sparseagent::cuda
