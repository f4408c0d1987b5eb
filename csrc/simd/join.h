// The fixed pairwise tree that joins the chains of a row stored as several runs.
#pragma once

#include "simd/vec.h"

namespace {

// Neighbours are added, an odd one out moves up unchanged. For R known when compiling
// the tree stays in registers.
template <int R, typename T, typename Add>
inline T join_tree(const T* chains, Add add) {
  if constexpr (R == 1) {
    return chains[0];
  } else {
    T next[(R + 1) / 2];
#pragma GCC unroll 4
    for (int i = 0; i < R / 2; ++i) next[i] = add(chains[2 * i], chains[2 * i + 1]);
    if constexpr (R % 2 == 1) next[R / 2] = chains[R - 1];
    return join_tree<(R + 1) / 2>(next, add);
  }
}

// In place: chains [out * R, width] -> sums [out, width]. Row r reads chains r * R and
// up and writes row r, so going upwards never overwrites what is still to be read.
template <int R>
void join_rows(float* y, int out, long width) {
  if (width == 1) {
    for (int r = 0; r < out; ++r)
      y[r] = join_tree<R>(y + r * R, [](float a, float b) { return a + b; });
    return;
  }
  for (int r = 0; r < out; ++r) {
    for (long t = 0; t < width; t += kLanes) {
      vec chains[R];
#pragma GCC unroll 8
      for (int s = 0; s < R; ++s)
        chains[s] = load(y + (static_cast<long>(r) * R + s) * width + t);
      store(y + r * width + t,
            join_tree<R>(chains, [](vec a, vec b) { return add(a, b); }));
    }
  }
}

// Any number of runs, one float at a time.
void join_many(float* y, int out, int runs, long width) {
  for (int r = 0; r < out; ++r) {
    for (long t = 0; t < width; ++t) {
      float* chain = y + static_cast<long>(r) * runs * width + t;
      for (int left = runs; left > 1; left = (left + 1) / 2) {
        for (int i = 0; i < left / 2; ++i)
          chain[i * width] = chain[2 * i * width] + chain[(2 * i + 1) * width];
        if (left % 2 == 1) chain[left / 2 * width] = chain[(left - 1) * width];
      }
      y[r * width + t] = chain[0];
    }
  }
}

// The packer stores up to 8 runs; a policy may have more.
inline void join_chains(float* y, int out, int runs, long width) {
  switch (runs) {
    case 2: return join_rows<2>(y, out, width);
    case 3: return join_rows<3>(y, out, width);
    case 4: return join_rows<4>(y, out, width);
    case 5: return join_rows<5>(y, out, width);
    case 6: return join_rows<6>(y, out, width);
    case 7: return join_rows<7>(y, out, width);
    case 8: return join_rows<8>(y, out, width);
    default: return join_many(y, out, runs, width);
  }
}

}  // namespace
