// Between the caller's row-major batches and the feature-major tiles of the kernels.
#pragma once

#include <cstdint>

namespace sparseagent {

// rows [count, size] -> tile [size, width], columns from `count` on are 0. count <=
// width.
void rows_to_tile(const float* rows, int count, int size, float* tile, int width);

// tile [size, width] -> rows [count, size]; a NaN becomes the one quiet NaN with no
// payload, because machines differ in which one they make.
void tile_to_rows(const float* tile, int count, int size, int width, float* rows);

// The same for one observation.
void copy_outputs(const float* y, int size, float* out);

}  // namespace sparseagent
