// What memory safety and the arithmetic contract need of the parts of a program. Each
// function throws std::invalid_argument if its argument breaks a rule.
#pragma once

#include <cstdint>

#include "core/program.h"

namespace sparseagent {

// Whether all numbers are finite.
bool all_finite(const float* values, std::int64_t count);

// A parameter that the activation can take.
void check_activation(Activation activation, float alpha);

// Offsets that rise, columns within the width and unique in a row, finite numbers.
void check_layer(const LayerView& layer);

// A kernel that stands somewhere, sizes that no product of them can overflow.
void check_window(const Window& window);

// Every feature is written once, before it is read, and there are not too many.
void check_flow(const Program& program);

}  // namespace sparseagent
