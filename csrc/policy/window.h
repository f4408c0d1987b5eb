// The window of a convolution or a pool, as the policy file says it.
#pragma once

#include "core/window.h"
#include "policy/json.h"

namespace sparseagent {

// Throws std::invalid_argument unless it is a window whose sizes fit each other.
Window read_window(const Json& spec);

}  // namespace sparseagent
