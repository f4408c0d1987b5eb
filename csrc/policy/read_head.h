// The action head of a policy file.
#pragma once

#include "core/program.h"
#include "policy/tensors.h"

namespace sparseagent {

// Reads `spec` and the arrays `head.*` into program->head, action_shape and memory; the
// outputs are there already. Throws std::invalid_argument for what is no head of
// theirs.
void read_head(const Json& spec, const TensorFile& file, Program* program);

}  // namespace sparseagent
