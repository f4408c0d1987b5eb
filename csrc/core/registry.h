// The table of instruction sets and kernels. The build writes registry.cpp from the
// CMake lists.
#pragma once

#include "core/kernel.h"
#include "core/program.h"

namespace sparseagent {

extern const Isa kIsas[];  // from plainest to widest
extern const int kIsaCount;

// The ISA of that name, or the widest one this machine runs if `name` is null or empty.
// Throws std::invalid_argument if there is none of that name or this machine cannot run
// it.
const Isa& choose_isa(const char* name);

// The ISA with half the lanes of `isa`, for tiles of fewer observations; null if there
// is none of vectors that this machine runs.
const Isa* narrower_isa(const Isa& isa);

// What runs an op of that kind, neither observe nor linear, on `isa`.
const OpKernel& op_kernel(const Isa& isa, OpKind kind);

}  // namespace sparseagent
