// The summation order that fills the lanes of the perm kernel; run once, when a policy
// is repacked.
#pragma once

#include <cstdint>
#include <vector>

#include "core/layer.h"

namespace sparseagent {

// A layer's new order, in terms of its old one.
struct Packing {
  std::int32_t runs;                  // runs per row
  std::vector<std::int32_t> rows;     // new row i is old row rows[i]
  std::vector<std::int32_t> indptr;   // [out * runs + 1]
  std::vector<std::int32_t> entries;  // new entry k is old entry entries[k]
};

// Orders `layer` for `lanes` (1 to 16) rows side by side, each step of which looks up
// two chunks of `lanes` inputs. `free_rows`: the rows may change places (the caller
// permutes the next layer's columns). Few rows are stored as several runs each, so that
// they fill the lanes and make short chains. Deterministic. The layer's own order does
// not matter.
Packing pack_for_lanes(const LayerView& layer, std::int32_t lanes, bool free_rows);

}  // namespace sparseagent
