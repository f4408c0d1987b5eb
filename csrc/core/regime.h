// Batch regimes: how many observations go through a layer together, and by which
// function of its kernel.
#pragma once

#include <string>
#include <vector>

#include "core/kernel.h"

namespace sparseagent {

struct Regime {
  Path path;
  int columns;  // observations
  int vectors;  // of a tile; 0 on the path of single observations

  // "one", "few 4", "tile 32".
  std::string name() const {
    if (path == Path::tile) return "tile " + std::to_string(columns);
    return columns == 1 ? "one" : "few " + std::to_string(columns);
  }
};

// All regimes of an instruction set with that many lanes: the single observation first,
// each path by rising width.
inline std::vector<Regime> regimes_of(int lanes) {
  std::vector<Regime> regimes = {{Path::one, 1, 0}};
  for (const int columns : kFewColumns) regimes.push_back({Path::one, columns, 0});
  for (const int vectors : kTileVectors) {
    const int columns = tile_columns(vectors, lanes);
    if (columns > 0) regimes.push_back({Path::tile, columns, vectors});
  }
  return regimes;
}

}  // namespace sparseagent
