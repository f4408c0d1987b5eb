// combine: x + y, x * y, or fma(w, y - x, x); feature by feature.
#include "simd/formulas.h"

extern "C" const sparseagent::OpKernel SPARSEAGENT_SYMBOL;

namespace {

using sparseagent::OpView;

void one(const OpView& op, const float* const* x, float* y) {
  for (int i = 0; i < op.in; i += kLanes) {
    float w[kLanes] = {};
    if (op.weight != nullptr) {
      const int left = op.in - i < kLanes ? op.in - i : kLanes;
      __builtin_memcpy(w, op.weight + i, sizeof(float) * static_cast<unsigned>(left));
    }
    store(y + i, combined(op.combine, load(x[0] + i), load(x[1] + i), load(w)));
  }
}

void tile(const OpView& op, const float* const* x, float* y, int vectors) {
  const long width = static_cast<long>(vectors) * kLanes;
  for (int f = 0; f < op.in; ++f) {
    const vec w = splat(op.weight != nullptr ? op.weight[f] : 0.0f);
    for (long i = f * width; i < (f + 1) * width; i += kLanes) {
      store(y + i, combined(op.combine, load(x[0] + i), load(x[1] + i), w));
    }
  }
}

}  // namespace

const sparseagent::OpKernel SPARSEAGENT_SYMBOL = {"combine", one, tile};
