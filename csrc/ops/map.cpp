// map: y = f(a x + b), then bounds; every feature by itself.
//
// `f` counts -0 as +0, as it does behind a linear sum. NaN passes the bounds.
#include "simd/formulas.h"

extern "C" const sparseagent::OpKernel SPARSEAGENT_SYMBOL;

namespace {

using sparseagent::OpView;

void one(const OpView& op, const float* const* x, float* y) {
  const float* from = x[0];
  if (op.scale != nullptr) {
    int i = 0;
    for (; i + kLanes <= op.in; i += kLanes)
      store(y + i, fma(load(op.scale + i), load(from + i), load(op.shift + i)));
    for (; i < op.in; ++i) y[i] = __builtin_fmaf(op.scale[i], from[i], op.shift[i]);
    from = y;
  }
  with_activation(op.activation, op.alpha, [&](auto f) {
    for (int i = 0; i < op.in; i += kLanes)
      store(y + i, bounded(op, f(load(from + i))));
  });
}

void tile(const OpView& op, const float* const* x, float* y, int vectors) {
  const long width = static_cast<long>(vectors) * kLanes;
  const float* from = x[0];
  for (int i = 0; i < op.in && op.scale != nullptr; ++i) {
    const vec a = splat(op.scale[i]);
    const vec b = splat(op.shift[i]);
    for (long c = i * width; c < (i + 1) * width; c += kLanes)
      store(y + c, fma(a, load(x[0] + c), b));
    from = y;
  }
  with_activation(op.activation, op.alpha, [&](auto f) {
    for (long i = 0; i < op.in * width; i += kLanes)
      store(y + i, bounded(op, f(load(from + i))));
  });
}

}  // namespace

const sparseagent::OpKernel SPARSEAGENT_SYMBOL = {"map", one, tile};
