// What memory safety and the arithmetic contract need of the parts of a program. Each
// function throws std::invalid_argument if its argument breaks a rule.
#pragma once

#include <cstdint>

#include "core/program.h"

namespace sparseagent {

// Whether all numbers are finite.
bool all_finite(const float* values, std::int64_t count);

// Offsets that rise, columns within the width and unique in a row, finite numbers.
void check_layer(const LayerView& layer);

// As many statistics as inputs, a positive scale, bounds in order, and so on.
void check_step(const ObservationStep& step);

// A bound for each of `out` outputs where the head has bounds, in order.
void check_head(const Head& head, std::int32_t out);

// Every feature is written once, before it is read.
void check_flow(const Program& program);

}  // namespace sparseagent
