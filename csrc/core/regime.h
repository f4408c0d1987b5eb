// Batch regimes: how many observations go through a layer together, and by which
// function of which kernels.
#pragma once

#include <string>
#include <vector>

#include "core/registry.h"

namespace sparseagent {

struct Regime {
  const Isa* isa;
  Path path;
  int columns;    // observations
  int vectors;    // of a tile; 0 on the path of single observations
  int tiles = 1;  // side by side

  // Observations of one tile.
  int width() const { return columns / tiles; }

  // "one", "few 4", "tile 32".
  std::string name() const {
    if (path == Path::tile) return "tile " + std::to_string(columns);
    return columns == 1 ? "one" : "few " + std::to_string(columns);
  }
};

// All regimes of an instruction set, from narrow to wide, the single observation first:
// few observations side by side, one tile of the ISA with half the lanes, whole tiles,
// several of the widest.
inline std::vector<Regime> regimes_of(const Isa& isa) {
  std::vector<Regime> regimes = {{&isa, Path::one, 1, 0}};
  for (const int columns : kFewColumns) {
    regimes.push_back({&isa, Path::one, columns, 0});
  }
  if (const Isa* narrow = narrower_isa(isa)) {
    regimes.push_back({narrow, Path::tile, narrow->kernels[0]->lanes, 1});
  }
  const Kernel& kernel = *isa.kernels[0];
  for (int vectors = 1; vectors <= kernel.tile_vectors; vectors *= 2) {
    regimes.push_back({&isa, Path::tile, vectors * kernel.lanes, vectors});
  }
  Regime together = regimes.back();
  together.columns *= kTilesTogether;
  together.tiles = kTilesTogether;
  regimes.push_back(together);
  return regimes;
}

}  // namespace sparseagent
