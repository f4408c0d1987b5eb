// From outputs to actions, as far as it is the same on every instruction set.
#pragma once

#include <cstdint>

#include "core/head.h"

namespace sparseagent {

// The mode of a discrete head: outputs [size] -> indices [actions], before the starts.
// The largest output wins, the first of equal ones; a NaN counts as the largest.
void mode_of(const Head& head, const float* y, float* indices);

// Whole numbers of discrete actions: indices [actions] -> actions.
void start_from(const Head& head, const float* indices, std::int64_t* actions);

// Samples [batch, size] of a continuous head to actions between its bounds, in place
// too.
void bound(const Head& head, const float* samples, std::int64_t batch, float* actions);

}  // namespace sparseagent
