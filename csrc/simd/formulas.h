// What the ops besides layers make of vectors of numbers: written once, for the ops of
// every instruction set and for CUDA.
#pragma once

#include "core/op.h"
#include "simd/activation.h"

namespace {

using sparseagent::CombineRule;
using sparseagent::NormRule;
using sparseagent::OpView;

// combine: x + y, x * y, or fma(w, y - x, x).
SPARSEAGENT_FUNCTION vec combined(CombineRule rule, vec x, vec y, vec w) {
  switch (rule) {
    case CombineRule::multiply: return mul(x, y);
    case CombineRule::lerp: return fma(w, sub(y, x), x);
    case CombineRule::add: break;
  }
  return add(x, y);
}

// map: the bounds, which NaN passes.
SPARSEAGENT_FUNCTION vec bounded(const OpView& op, vec x) {
  if (op.has_low) x = at_least(splat(op.low), x);
  if (op.has_high) x = at_most(splat(op.high), x);
  return x;
}

// norm: sums have 16 partials, feature f in partial f mod 16, and a fixed tree joins
// them: s[i] += s[i + 8], then 4, 2, 1.
constexpr int kPartials = 16;

template <typename T>
SPARSEAGENT_FUNCTION T joined(T* s, T (*sum)(T, T)) {
#pragma GCC unroll 4
  for (int half = kPartials / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < half; ++i) s[i] = sum(s[i], s[i + half]);
  }
  return s[0];
}

// norm: what every difference is multiplied by, from the sum of squares.
SPARSEAGENT_FUNCTION vec gain(const OpView& op, vec squares) {
  if (op.norm == NormRule::l2) {
    return div(splat(1.0f), at_least(splat(op.eps), square_root(squares)));
  }
  const vec variance = div(squares, splat(static_cast<float>(op.in)));
  return div(splat(1.0f), square_root(add(variance, splat(op.eps))));
}

// reduce: a power of softmax, `most` being the largest of the group.
SPARSEAGENT_FUNCTION vec power(vec x, vec most) {
  return exp(at_least(splat(-87.0f), sub(x, most)));
}

// Where the members of a group of reduce lie.
struct Group {
  long first;
  long step;
  int size;
};

SPARSEAGENT_FUNCTION Group group_of(const OpView& op, int g) {
  const int size = op.in / op.groups;
  if (op.strided) return {g, op.groups, size};
  return {static_cast<long>(g) * size, 1, size};
}

}  // namespace
