// reduce: groups of features to their mean, to a weighted sum, or to a distribution.
//
// Every sum is one chain in ascending order of the group's members. In a tile the lanes
// are observations; for one observation the sums are scalar and only the powers of a
// softmax are vectors: groups are few and short.
#include "simd/formulas.h"

extern "C" const sparseagent::OpKernel SPARSEAGENT_SYMBOL;

namespace {

using sparseagent::OpView;
using sparseagent::ReduceRule;

void softmax(const OpView& op, const float* x, float* y) {
  for (int g = 0; g < op.groups; ++g) {
    const Group group = group_of(op, g);
    float most = x[group.first];
    for (int i = 1; i < group.size; ++i) {
      const float v = x[group.first + i * group.step];
      most = most < v ? v : most;
    }
    float total = 0.0f;
    for (int i = 0; i < group.size; i += kLanes) {
      const int left = group.size - i < kLanes ? group.size - i : kLanes;
      float part[kLanes] = {};
      for (int l = 0; l < left; ++l) part[l] = x[group.first + (i + l) * group.step];
      store(part, power(load(part), splat(most)));
      for (int l = 0; l < left; ++l) {
        total = total + part[l];
        y[group.first + (i + l) * group.step] = part[l];
      }
    }
    for (int i = 0; i < group.size; ++i) {
      const long at = group.first + i * group.step;
      y[at] = y[at] / total;
    }
  }
}

void one(const OpView& op, const float* const* x, float* y) {
  if (op.reduce == ReduceRule::softmax) return softmax(op, x[0], y);
  for (int g = 0; g < op.groups; ++g) {
    const Group group = group_of(op, g);
    float sum = 0.0f;
    for (int i = 0; i < group.size; ++i) {
      const float v = x[0][group.first + i * group.step];
      sum = op.weight != nullptr ? __builtin_fmaf(op.weight[i], v, sum) : sum + v;
    }
    const float share = 1.0f / static_cast<float>(group.size);
    y[g] = op.reduce == ReduceRule::mean ? sum * share : sum;
  }
}

inline void softmax(const Group& group, const float* x, float* y, long width) {
  const auto at = [&](int i) { return (group.first + i * group.step) * width; };
  vec most = load(x + at(0));
  for (int i = 1; i < group.size; ++i) {
    const vec v = load(x + at(i));
    most = select(less(most, v), v, most);
  }
  vec total = splat(0.0f);
  for (int i = 0; i < group.size; ++i) {
    const vec p = power(load(x + at(i)), most);
    total = add(total, p);
    store(y + at(i), p);
  }
  for (int i = 0; i < group.size; ++i) store(y + at(i), div(load(y + at(i)), total));
}

void tile(const OpView& op, const float* const* x, float* y, int vectors) {
  const long width = static_cast<long>(vectors) * kLanes;
  for (int g = 0; g < op.groups; ++g) {
    const Group group = group_of(op, g);
    const vec share = splat(1.0f / static_cast<float>(group.size));
    for (long c = 0; c < width; c += kLanes) {
      if (op.reduce == ReduceRule::softmax) {
        softmax(group, x[0] + c, y + c, width);
        continue;
      }
      vec sum = splat(0.0f);
      for (int i = 0; i < group.size; ++i) {
        const vec v = load(x[0] + c + (group.first + i * group.step) * width);
        sum = op.weight != nullptr ? fma(splat(op.weight[i]), v, sum) : add(sum, v);
      }
      store(y + c + g * width, op.reduce == ReduceRule::mean ? mul(sum, share) : sum);
    }
  }
}

}  // namespace

const sparseagent::OpKernel SPARSEAGENT_SYMBOL = {"reduce", one, tile};
