// The one reader of the policy file: bytes in, a checked Program out.
#pragma once

#include <cstddef>

#include "core/program.h"

namespace sparseagent {

// Reads version 1 and 2 of the format that sparseagent/policyfile.py describes. Trusts
// nothing: throws std::invalid_argument for whatever is no such file, and allocates no
// more than some 50 times its bytes. The golden self-test is left to the caller. Whole
// in memory, little-endian; `data` is not needed afterwards.
Program read_policy(const void* data, std::size_t size);

}  // namespace sparseagent
