// One row of observations: z = float(clip((x - shift) / scale, low, high)).
//
// A plain loop over arrays, of which compilers make vectors: a division takes as long
// for a vector as for two or three numbers.
#pragma once

#include "core/kernel.h"

namespace {

using sparseagent::Normaliser;

// In `Real`, double or float: libraries normalise in one or the other.
template <typename Real, typename T>
inline void normalise_row(const Normaliser& step, const T* __restrict x,
                          float* __restrict z) {
  const double* __restrict shift = step.shift;
  const double* __restrict scale = step.scale;
  const auto low = static_cast<Real>(step.low);
  const auto high = static_cast<Real>(step.high);
  const int size = step.size;
  for (int i = 0; i < size; ++i) {
    Real value = static_cast<Real>(x[i]) - static_cast<Real>(shift[i]);
    value /= static_cast<Real>(scale[i]);
    value = value < low ? low : value;  // a NaN passes both comparisons
    value = value > high ? high : value;
    z[i] = static_cast<float>(value);
  }
}

void normalise(const Normaliser& step, const void* x, bool wide, float* z) {
  const auto* floats = static_cast<const float*>(x);
  const auto* doubles = static_cast<const double*>(x);
  if (step.single) {
    wide ? normalise_row<float>(step, doubles, z)
         : normalise_row<float>(step, floats, z);
  } else {
    wide ? normalise_row<double>(step, doubles, z)
         : normalise_row<double>(step, floats, z);
  }
}

}  // namespace
