// The scalar reference: the arithmetic contract as a plain loop, without packing.
#pragma once

#include "core/layer.h"

namespace sparseagent {

// y [out] = layer(x [in]). `chains` is room for layer.runs floats.
void reference_layer(const LayerView& layer, const float* x, float* y, float* chains);

}  // namespace sparseagent
