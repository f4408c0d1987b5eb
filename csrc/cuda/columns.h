// The ops that go through all features of an observation: norm, reduce; and combine.
#pragma once

#include "cuda/block.h"

namespace sparseagent::cuda {

template <int V, int G>
__device__ __forceinline__ void combine(const Net& net, const Step& step,
                                        const Block<V, G>& block) {
  const auto rule = static_cast<CombineRule>(step.rule);
  for (int f = block.group; f < step.in; f += block.groups) {
    const auto p = static_cast<std::uint32_t>(f);
    Columns<V> x = block.read(block.offset(step.x + p));
    const Columns<V> z = block.read(block.offset(step.z + p));
    vec w = splat(0.0f);
    if (step.bits & kWeighted) w = {__uint_as_float(__ldg(net.words + step.words + p))};
    for (int j = 0; j < V; ++j) x.v[j] = combined(rule, vec{x.v[j]}, vec{z.v[j]}, w).v;
    block.write(block.offset(step.y + p), x);
  }
}

// The tree over the partials at `place`.
template <int V, int G>
__device__ __forceinline__ vec total(const Block<V, G>& block, std::uint32_t place,
                                     int c) {
  vec s[kPartials];
  SPARSEAGENT_UNROLL(16)
  for (int i = 0; i < kPartials; ++i) {
    s[i] = {block.at(place + static_cast<std::uint32_t>(i), c)};
  }
  return joined(s, add);
}

// Every group sums some of the 16 partials for its columns; all groups join all of
// them.
template <int V, int G>
__device__ __forceinline__ void norm(const Step& step, const Block<V, G>& block) {
  OpView op;
  op.in = step.in;
  op.norm = static_cast<NormRule>(step.rule);
  op.eps = step.eps;
  vec mean[V];
  for (int j = 0; j < V; ++j) mean[j] = splat(0.0f);
  if (op.norm == NormRule::layer) {
    for (int p = block.group; p < kPartials; p += block.groups) {
      for (int j = 0; j < V; ++j) {
        vec sum = splat(0.0f);
        for (int f = p; f < step.in; f += kPartials) {
          sum = add(sum, vec{block.at(step.x + f, block.column(j))});
        }
        block.at(step.z + p, block.column(j)) = sum.v;
      }
    }
    __syncthreads();
    for (int j = 0; j < V; ++j) {
      const vec n = splat(static_cast<float>(step.in));
      mean[j] = div(total(block, step.z, block.column(j)), n);
    }
  }
  const std::uint32_t squares = step.z + kPartials;
  for (int p = block.group; p < kPartials; p += block.groups) {
    for (int j = 0; j < V; ++j) {
      vec sum = splat(0.0f);
      for (int f = p; f < step.in; f += kPartials) {
        const vec d = sub(vec{block.at(step.x + f, block.column(j))}, mean[j]);
        sum = fma(d, d, sum);
      }
      block.at(squares + p, block.column(j)) = sum.v;
    }
  }
  __syncthreads();
  for (int j = 0; j < V; ++j) {
    const int c = block.column(j);
    const vec factor = gain(op, total(block, squares, c));
    for (int f = block.group; f < step.in; f += block.groups) {
      const vec d = sub(vec{block.at(step.x + f, c)}, mean[j]);
      block.at(step.y + f, c) = mul(d, factor).v;
    }
  }
}

// One group of features in one column, members ascending.
template <int V, int G>
__device__ __forceinline__ void softmax(const Step& step, const Group& members,
                                        const Block<V, G>& block, int c) {
  const auto place = [&](int i) {
    return static_cast<std::uint32_t>(members.first + i * members.step);
  };
  vec most = {block.at(step.x + place(0), c)};
  for (int i = 1; i < members.size; ++i) {
    const vec v = {block.at(step.x + place(i), c)};
    most = select(less(most, v), v, most);
  }
  vec sum = splat(0.0f);
  for (int i = 0; i < members.size; ++i) {
    const vec p = power(vec{block.at(step.x + place(i), c)}, most);
    sum = add(sum, p);
    block.at(step.y + place(i), c) = p.v;
  }
  for (int i = 0; i < members.size; ++i) {
    float& y = block.at(step.y + place(i), c);
    y = div(vec{y}, sum).v;
  }
}

// A mean or a weighted sum.
template <int V, int G>
__device__ __forceinline__ vec group_sum(const Net& net, const Step& step,
                                         const Group& members, const Block<V, G>& block,
                                         int c) {
  vec sum = splat(0.0f);
  for (int i = 0; i < members.size; ++i) {
    const vec v = {block.at(
        step.x + static_cast<std::uint32_t>(members.first + i * members.step), c)};
    if (step.bits & kWeighted) {
      const vec w = {__uint_as_float(__ldg(net.words + step.words + i))};
      sum = fma(w, v, sum);
    } else {
      sum = add(sum, v);
    }
  }
  if (static_cast<ReduceRule>(step.rule) != ReduceRule::mean) return sum;
  const vec n = splat(static_cast<float>(members.size));
  return mul(sum, div(splat(1.0f), n));
}

template <int V, int G>
__device__ __forceinline__ void reduce_groups(const Net& net, const Step& step,
                                              const Block<V, G>& block) {
  OpView op;
  op.in = step.in;
  op.groups = step.parts;
  op.strided = (step.bits & kStrided) != 0;
  for (int g = block.group; g < step.parts; g += block.groups) {
    const Group members = group_of(op, g);
    SPARSEAGENT_UNROLL(1)
    for (int j = 0; j < V; ++j) {
      const int c = block.column(j);
      if (static_cast<ReduceRule>(step.rule) == ReduceRule::softmax) {
        softmax(step, members, block, c);
      } else {
        const vec sum = group_sum(net, step, members, block, c);
        block.at(step.y + static_cast<std::uint32_t>(g), c) = sum.v;
      }
    }
  }
}

}  // namespace sparseagent::cuda
