// Outputs and actions: columns of the tile to rows in memory. The same as
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
__device__ __forceinline__ void choose(const Net& net, const Block<V, G>& block,
                                       std::int64_t first, int count,
                                       std::int64_t* actions) {
  const Action& action = net.action;
  const std::uint32_t place = net.outputs[0].place;
  for (int i = static_cast<int>(threadIdx.x); i < count * action.count;
       i += static_cast<int>(blockDim.x)) {
    const int c = i / action.count;
    const int a = i % action.count;
    std::int64_t chosen = 0;
    if (action.choices != 0) {
      const std::uint32_t* fact = net.words + action.words + 3 * a;
      const auto start = static_cast<std::int32_t>(__ldg(fact + 2));
      chosen = start +
               static_cast<std::int64_t>(largest(
                   place + __ldg(fact), static_cast<int>(__ldg(fact + 1)), c, block));
    } else {
      chosen = block.at(place + static_cast<std::uint32_t>(a), c) > 0.0f ? 1 : 0;
    }
    actions[(first + c) * action.count + a] = chosen;
  }
}

__device__ __forceinline__ float bounded_action(HeadKind bounds, float a, float low,
                                                float high) {
  if (bounds == HeadKind::unscale) {
    const float share = __fmul_rn(0.5f, __fadd_rn(a, 1.0f));
    return __fadd_rn(low, __fmul_rn(share, __fsub_rn(high, low)));
  }
  a = a < low ? low : a;
  return a > high ? high : a;
}

__device__ __forceinline__ float continuous(const Net& net, int i, float y) {
  const Action& action = net.action;
  if (action.squash != 0) y = canonical(tanh(vec{y})).v;
  if (action.bounds == HeadKind::raw) return y;
  const std::uint32_t* bounds = net.words + action.words;
  return bounded_action(action.bounds, y, __uint_as_float(__ldg(bounds + i)),
                        __uint_as_float(__ldg(bounds + action.count + i)));
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
      if (acts) y = continuous(net, i, y);
      to[i] = canonical(vec{y}).v;
    }
  }
}

template <int V, int G>
__device__ __forceinline__ void finish(const Net& net, const Call& call,
                                       const Block<V, G>& block, std::int64_t first,
                                       int count) {
  for (int k = 0; k < call.wanted; ++k) {
    const bool acts = k == 0 && call.acts != 0;
    if (acts && net.action.whole != 0) {
      choose(net, block, first, count, static_cast<std::int64_t*>(call.outputs[k]));
    } else {
      copy_output(net, net.outputs[k], acts, block, first, count,
                  static_cast<float*>(call.outputs[k]));
    }
  }
}

}  // namespace sparseagent::cuda
