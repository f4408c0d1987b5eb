// Which tile a batch goes through: by a rule of thumb, as no GPU has been measured yet.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/driver.h"

namespace sparseagent::cuda {

// What a program costs, whatever the tile.
struct Work {
  double entries = 0;  // stored weights
  int steps = 0;
  int layers = 0;
};

// A tile, and how many blocks share it.
struct Tiling {
  int shape = 0;  // of kShapes
  unsigned cluster = 1;
};

// The tilings that fit into the device's shared memory; none: the program is too wide.
std::vector<Tiling> tilings_for(const Net& net, const Device& device);

// Cycles that a batch may take.
double cycles(const Tiling& tiling, const Work& work, const Net& net,
              const Device& device, std::int64_t batch);

// The tiling of fewest cycles.
Tiling choose(const std::vector<Tiling>& tilings, const Work& work, const Net& net,
              const Device& device, std::int64_t batch);

}  // namespace sparseagent::cuda
