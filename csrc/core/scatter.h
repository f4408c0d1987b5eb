// Where the weights and biases of a layer lie in its packed form, whatever the kernel:
// new ones under the same structure are put there without packing again.
#pragma once

#include <cstdint>
#include <vector>

#include "core/packed.h"

namespace sparseagent {

class Scatter {
 public:
  // Finds the places by packing a layer whose numbers are their own positions.
  Scatter(const PackedLayer& packed, const LayerView& layer);

  // Puts the numbers in place. `layer` has the structure of the constructor's, or that
  // was a slice of it which began at row `first`.
  void apply(const LayerView& layer, std::int32_t first, PackedLayer* packed) const;

 private:
  struct Move {
    std::int32_t place;  // in floats from the start of the packed layer
    std::int32_t from;
  };

  std::vector<Move> weights_;  // by rising `place`: written in one sweep
  std::vector<Move> biases_;
};

}  // namespace sparseagent
