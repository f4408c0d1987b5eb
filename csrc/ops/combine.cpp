// combine: x + y, x * y, or fma(w, y - x, x); feature by feature.
#include "simd/formulas.h"

extern "C" const sparseagent::OpKernel SPARSEAGENT_SYMBOL;

namespace {

using sparseagent::OpView;

void one(const OpView& op, const float* const* x, float* y) {
  const CombineRule rule = op.combine;  // a copy: compilers ask it once
  const bool weighted = op.weight != nullptr;
  int i = 0;
  for (; i + kLanes <= op.in; i += kLanes) {
    const vec w = weighted ? load(op.weight + i) : splat(0.0f);
    store(y + i, combined(rule, load(x[0] + i), load(x[1] + i), w));
  }
  if (i == op.in) return;
  const vec w = weighted ? load_first(op.weight + i, op.in - i) : splat(0.0f);
  store(y + i, combined(rule, load(x[0] + i), load(x[1] + i), w));
}

void tile(const OpView& op, const float* const* x, float* y, int vectors) {
  const CombineRule rule = op.combine;
  const long width = static_cast<long>(vectors) * kLanes;
  for (int f = 0; f < op.in; ++f) {
    const vec w = splat(op.weight != nullptr ? op.weight[f] : 0.0f);
    for (long i = f * width; i < (f + 1) * width; i += kLanes) {
      store(y + i, combined(rule, load(x[0] + i), load(x[1] + i), w));
    }
  }
}

}  // namespace

const sparseagent::OpKernel SPARSEAGENT_SYMBOL = {"combine", one, tile};
