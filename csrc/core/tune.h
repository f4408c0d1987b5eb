// Choosing a kernel for every layer: legal candidates are timed on this machine, the
// fastest stays.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/network.h"
#include "core/registry.h"

namespace sparseagent {

// What was chosen for one layer in one regime, and what every candidate took.
struct Choice {
  struct Candidate {
    std::string format;
    double ns;  // per call of the layer (one observation, or one tile); negative: not
                // timed
    std::size_t bytes;
  };

  int layer;
  const char* regime;  // "one", "narrow" or "tile", see Network::Step
  std::string format;
  std::vector<Candidate> candidates;
};

// Packs the network. `format` forces one kernel for all layers; empty: choose within
// `budget_ms`. Throws std::invalid_argument if `format` is unknown or cannot follow a
// layer's order.
std::unique_ptr<Network> build_network(const Isa& isa,
                                       const std::vector<LayerView>& layers,
                                       const std::string& format, double budget_ms,
                                       std::vector<Choice>* choices);

}  // namespace sparseagent
