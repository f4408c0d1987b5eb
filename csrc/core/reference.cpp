#include "core/reference.h"

#define SPARSEAGENT_VEC_HEADER "simd/vec_scalar.h"
#include "simd/activation.h"

namespace sparseagent {

void reference_layer(const LayerView& layer, const float* x, float* y, float* chains) {
  for (std::int32_t r = 0; r < layer.out; ++r) {
    for (std::int32_t s = 0; s < layer.runs; ++s) {
      const std::int64_t run = static_cast<std::int64_t>(r) * layer.runs + s;
      float acc = s == 0 ? layer.bias[r] : 0.0f;
      for (std::int32_t k = layer.indptr[run]; k < layer.indptr[run + 1]; ++k) {
        acc = __builtin_fmaf(layer.values[k], x[layer.indices[k]], acc);
      }
      chains[s] = acc;
    }
    // The pairwise tree: neighbours are added, an odd one out moves up unchanged.
    for (std::int32_t left = layer.runs; left > 1; left = (left + 1) / 2) {
      for (std::int32_t i = 0; i < left / 2; ++i)
        chains[i] = chains[2 * i] + chains[2 * i + 1];
      if (left % 2 == 1) chains[left / 2] = chains[left - 1];
    }
    y[r] = activate(layer.activation, layer.alpha, chains[0]);
  }
}

}  // namespace sparseagent
