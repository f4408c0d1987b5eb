// Whether no Inf and no NaN came in: kernels that multiply by absent weights look at
// their sums.
#pragma once

#include "simd/vec.h"

namespace {

inline bool all_finite(vec a) {
  return all(less(magnitude(a), splat(__builtin_inff())));
}

}  // namespace
