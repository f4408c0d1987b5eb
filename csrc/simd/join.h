// The fixed pairwise tree that joins the chains of a row stored as several runs.
#pragma once

#include "simd/vec.h"

namespace {

// In place: chains [out * runs, width] -> sums [out, width]. Row r reads chains r *
// runs and up and writes row r, so going upwards never overwrites what is still to be
// read.
inline void join_chains(float* y, int out, int runs, int width) {
  for (int r = 0; r < out; ++r) {
    float* chain = y + static_cast<long>(r) * runs * width;
    for (int left = runs; left > 1; left = (left + 1) / 2) {
      for (int i = 0; i < left / 2; ++i) {
        for (int t = 0; t < width; ++t) {
          chain[i * width + t] =
              chain[2 * i * width + t] + chain[(2 * i + 1) * width + t];
        }
      }
      if (left % 2 == 1) {
        for (int t = 0; t < width; ++t) {
          chain[left / 2 * width + t] = chain[(left - 1) * width + t];
        }
      }
    }
    for (int t = 0; t < width; ++t) y[static_cast<long>(r) * width + t] = chain[t];
  }
}

}  // namespace
