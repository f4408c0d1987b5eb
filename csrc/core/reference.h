// The scalar reference: the arithmetic contract as a plain loop, without packing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/program.h"

namespace sparseagent {

// y [out] = layer(x [in]). `chains` is room for layer.runs floats.
void reference_layer(const LayerView& layer, const float* x, float* y, float* chains);

// The same of a convolution: y [out, pixels], x [image].
void reference_window(const LayerView& layer, const float* x, float* y);

// x [count], in place.
void reference_activate(Activation activation, float alpha, float* x,
                        std::int64_t count);

// The whole program, observation by observation, ops by the scalar instruction set:
// inputs, one for each of the program's, [batch, *shape] -> output `number`
// [batch, size]. A NaN leaves as the one quiet NaN with no payload.
void reference_forward(const Program& program, const std::vector<Observations>& inputs,
                       std::int64_t batch, std::size_t number, float* output);

}  // namespace sparseagent
