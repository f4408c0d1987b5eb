// Which kernels can run a layer, packed, and what a rule of thumb says of them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/packed.h"
#include "core/registry.h"

namespace sparseagent {

using Candidates = std::vector<std::shared_ptr<PackedLayer>>;

// The kernel called `format`; null if `format` is empty. Throws std::invalid_argument
// if there is none.
const Kernel* named_kernel(const Isa& isa, const std::string& format);

// Every kernel that can follow layer `number` on `path`, packed, the most promising
// first. `forced`, if not null, is the only one on the paths it has. Throws
// std::invalid_argument if that leaves none.
Candidates pack_candidates(const Isa& isa, const LayerView& layer, int number,
                           Path path, const Kernel* forced);

// What a call should take, in ns, by what the crossovers of these kernels suggest.
double guess_ns(const Kernel& kernel, const LayerView& layer, const Regime& regime);

}  // namespace sparseagent
