// Which kernels can run a layer, packed, and what a rule of thumb says of them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/packed.h"
#include "core/regime.h"

namespace sparseagent {

using Candidates = std::vector<std::shared_ptr<PackedLayer>>;

// The kernels that can follow layer `number` in `regime`, packed, the most promising
// first; one that the rule of thumb gives no chance is left out. `format`, if not
// empty, is the only one on the paths it has. `one`: the most promising alone. `before`
// are candidates of the regime before, which may share their bytes. Throws
// std::invalid_argument if there is none.
Candidates pack_candidates(const LayerView& layer, int number, const Regime& regime,
                           const std::string& format, bool one,
                           const Candidates& before);

// What a call should take, in ns, by what the crossovers of these kernels suggest.
double guess_ns(const Kernel& kernel, const LayerView& layer, const Regime& regime);

}  // namespace sparseagent
