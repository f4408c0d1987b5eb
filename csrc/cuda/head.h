// Outputs and actions: columns of the tile to rows in memory. The same as
// core/head.cpp.
#pragma once

#include "cuda/block.h"

namespace sparseagent::cuda {

// NaN counts as the largest.
template <int V, int G>
__device__ __forceinline__ void argmax(const Output& output, const Block<V, G>& block,
                                       std::int64_t first, int count,
                                       std::int64_t* indices) {
  for (int c = static_cast<int>(threadIdx.x); c < count;
       c += static_cast<int>(blockDim.x)) {
    int best = 0;
    float most = block.at(output.place, c);
    for (int i = 1; i < output.size && most == most; ++i) {
      const float y = block.at(output.place + static_cast<std::uint32_t>(i), c);
      if (y <= most) continue;
      best = i;
      most = y;
    }
    indices[first + c] = best;
  }
}

__device__ __forceinline__ float bounded_action(Head::Kind head, float a, float low,
                                                float high) {
  if (head == Head::Kind::unscale) {
    const float share = __fmul_rn(0.5f, __fadd_rn(a, 1.0f));
    return __fadd_rn(low, __fmul_rn(share, __fsub_rn(high, low)));
  }
  a = a < low ? low : a;
  return a > high ? high : a;
}

// A warp takes a column, its lanes neighbouring outputs.
template <int V, int G>
__device__ __forceinline__ void copy_output(const Net& net, const Output& output,
                                            Head::Kind head, const Block<V, G>& block,
                                            std::int64_t first, int count,
                                            float* rows) {
  const int warps = static_cast<int>(blockDim.x) / 32;
  for (int c = static_cast<int>(threadIdx.x) / 32; c < count; c += warps) {
    float* to = rows + (first + c) * output.size;
    for (int i = static_cast<int>(threadIdx.x) % 32; i < output.size; i += 32) {
      float y = block.at(output.place + static_cast<std::uint32_t>(i), c);
      if (head != Head::Kind::raw) {
        const std::uint32_t* bounds = net.words + net.head_words;
        y = bounded_action(head, y, __uint_as_float(__ldg(bounds + i)),
                           __uint_as_float(__ldg(bounds + output.size + i)));
      }
      to[i] = canonical(vec{y}).v;
    }
  }
}

template <int V, int G>
__device__ __forceinline__ void finish(const Net& net, const Call& call,
                                       const Block<V, G>& block, std::int64_t first,
                                       int count) {
  for (int k = 0; k < call.wanted; ++k) {
    const Output& output = net.outputs[k];
    const Head::Kind head = k == 0 ? call.head : Head::Kind::raw;
    if (head == Head::Kind::argmax) {
      argmax(output, block, first, count, static_cast<std::int64_t*>(call.outputs[k]));
    } else {
      copy_output(net, output, head, block, first, count,
                  static_cast<float*>(call.outputs[k]));
    }
  }
}

}  // namespace sparseagent::cuda
