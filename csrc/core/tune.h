// Choosing a kernel for every layer and batch regime: legal candidates are timed on
// this machine, alone and within the whole network; the fastest stay.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/registry.h"
#include "core/schedule.h"

namespace sparseagent {

// What was chosen for one layer in one regime, and what every candidate took.
struct Choice {
  struct Candidate {
    std::string format;
    double ns;  // per call of the layer, all columns; negative: not timed
    std::size_t bytes;
  };

  int layer;
  Regime regime;
  std::string format;
  std::vector<Candidate> candidates;
};

// The outcome of tuning, to be used again.
struct Tuning {
  std::vector<std::vector<std::string>> formats;  // [regimes][layers]
  std::vector<double> ns;                         // [regimes]
  bool empty() const { return formats.empty(); }
};

struct BuildOptions {
  std::string format;  // one kernel for all layers, on the paths it has; empty: choose
  double budget_ms;    // of the clock, for timing; 0: a rule of thumb
  int threads;         // rows of large layers are split for so many
  Tuning tuning;       // not empty: follow it, time nothing
  std::function<void()> checkpoint;  // called often; what it throws ends it all
};

// Packs the layers. Throws std::invalid_argument if a format is unknown or cannot
// follow a layer's order.
std::unique_ptr<Schedule> build_schedule(const Isa& isa, const Program& program,
                                         const BuildOptions& options,
                                         std::vector<Choice>* choices);

}  // namespace sparseagent
