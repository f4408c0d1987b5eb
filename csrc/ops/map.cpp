// map: y = f(a x + b), then bounds; every feature by itself.
//
// `f` counts -0 as +0, as it does behind a linear sum. NaN passes the bounds.
#include "simd/formulas.h"

extern "C" const sparseagent::OpKernel SPARSEAGENT_SYMBOL;

namespace {

using sparseagent::OpView;

void one(const OpView& op, const float* const* x, float* y) {
  for (int i = 0; i < op.in; i += kLanes) {
    vec v = load(x[0] + i);
    if (op.scale != nullptr) {
      const int left = op.in - i < kLanes ? op.in - i : kLanes;
      float a[kLanes] = {};
      float b[kLanes] = {};
      __builtin_memcpy(a, op.scale + i, sizeof(float) * static_cast<unsigned>(left));
      __builtin_memcpy(b, op.shift + i, sizeof(float) * static_cast<unsigned>(left));
      v = fma(load(a), v, load(b));
    }
    store(y + i, bounded(op, activate(op.activation, op.alpha, v)));
  }
}

void tile(const OpView& op, const float* const* x, float* y, int vectors) {
  const long width = static_cast<long>(vectors) * kLanes;
  for (int f = 0; f < op.in; ++f) {
    for (long c = 0; c < width; c += kLanes) {
      vec v = load(x[0] + f * width + c);
      if (op.scale != nullptr) v = fma(splat(op.scale[f]), v, splat(op.shift[f]));
      store(y + f * width + c, bounded(op, activate(op.activation, op.alpha, v)));
    }
  }
}

}  // namespace

const sparseagent::OpKernel SPARSEAGENT_SYMBOL = {"map", one, tile};
