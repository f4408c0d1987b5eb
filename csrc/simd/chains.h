// Chains by length, for the kernels that walk several of them in lockstep.
#pragma once

#include "core/layer.h"

namespace {

inline int chain_length(const sparseagent::LayerView& layer, int chain) {
  return layer.indptr[chain + 1] - layer.indptr[chain];
}

// What a chain starts from: the first run of a row from the bias, the others from 0.
inline float chain_start(const sparseagent::LayerView& layer, int chain) {
  return chain % layer.runs == 0 ? layer.bias[chain / layer.runs] : 0.0f;
}

// The most entries of a chain that has fewer than `bound`; -1 if none has.
inline int next_length(const sparseagent::LayerView& layer, int bound) {
  int most = -1;
  for (int i = 0; i < layer.chains(); ++i) {
    const int length = chain_length(layer, i);
    if (length < bound && length > most) most = length;
  }
  return most;
}

// visit(place, chain) for all chains by falling length, equal lengths in their own
// order. Needs no memory: one pass over the chains for every length that occurs.
template <typename Visit>
void by_falling_length(const sparseagent::LayerView& layer, Visit visit) {
  int place = 0;
  for (int length = next_length(layer, layer.in * layer.runs + 1); length >= 0;
       length = next_length(layer, length)) {
    for (int i = 0; i < layer.chains(); ++i) {
      if (chain_length(layer, i) == length) visit(place++, i);
    }
  }
}

}  // namespace
