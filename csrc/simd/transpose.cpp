// Between the caller's row-major batches and the feature-major tiles of the kernels.
// Compiled once per instruction set.
//
// Whole vectors of rows and of features: a square of kLanes x kLanes is turned in
// registers. A few features left over go one by one, as a square of theirs would be
// nearly empty.
#include "core/kernel.h"
#include "simd/normalise.h"
#include "simd/vec.h"

extern "C" const sparseagent::Transposes SPARSEAGENT_SYMBOL;

namespace {

inline int at_most(int most, int n) { return n < most ? n : most; }

// Features from which on a square is quicker than one by one.
constexpr int kSquare = kLanes / 8 + 1;

// `live` rows of `some` features -> as many rows of a tile, lanes from `live` on 0.
inline void square_to_tile(const float* rows, int live, int some, int size, float* tile,
                           int width) {
  vec m[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    const float* row = rows + static_cast<long>(i) * size;
    m[i] = i >= live ? splat(0.0f) : some == kLanes ? load(row) : load_first(row, some);
  }
  transpose(m);
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if (i < some) store(tile + static_cast<long>(i) * width, m[i]);
  }
}

inline void feature_to_tile(const float* rows, int live, int size, float* tile) {
  store(tile, splat(0.0f));
  for (int i = 0; i < live; ++i) tile[i] = rows[static_cast<long>(i) * size];
}

void rows_to_tile(const float* rows, int count, int size, float* tile, int width) {
  for (int j = 0; j < size; j += kLanes) {
    const int some = at_most(kLanes, size - j);
    for (int t = 0; t < width; t += kLanes) {
      const float* from = rows + static_cast<long>(t) * size + j;
      float* to = tile + static_cast<long>(j) * width + t;
      const int live = at_most(kLanes, count - t);
      if (some >= kSquare) {
        square_to_tile(from, live, some, size, to, width);
      } else {
        for (int i = 0; i < some; ++i)
          feature_to_tile(from + i, live, size, to + static_cast<long>(i) * width);
      }
    }
  }
}

inline void square_to_rows(const float* tile, int live, int some, int width,
                           float* rows, int size) {
  vec m[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    m[i] =
        i < some ? canonical(load(tile + static_cast<long>(i) * width)) : splat(0.0f);
  }
  transpose(m);
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if (i >= live) return;
    float* row = rows + static_cast<long>(i) * size;
    some == kLanes ? store(row, m[i]) : store_first(row, m[i], some);
  }
}

inline void feature_to_rows(const float* tile, int live, float* rows, int size) {
  float lanes[kLanes];
  store(lanes, canonical(load(tile)));
  for (int i = 0; i < live; ++i) rows[static_cast<long>(i) * size] = lanes[i];
}

void tile_to_rows(const float* tile, int count, int size, int width, float* rows) {
  for (int t = 0; t < count; t += kLanes) {
    const int live = at_most(kLanes, count - t);
    for (int j = 0; j < size; j += kLanes) {
      const float* from = tile + static_cast<long>(j) * width + t;
      float* to = rows + static_cast<long>(t) * size + j;
      const int some = at_most(kLanes, size - j);
      if (some >= kSquare) {
        square_to_rows(from, live, some, width, to, size);
      } else {
        for (int i = 0; i < some; ++i)
          feature_to_rows(from + static_cast<long>(i) * width, live, to + i, size);
      }
    }
  }
}

void copy_outputs(const float* y, int size, float* out) {
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) store(out + i, canonical(load(y + i)));
  if (i < size) store_first(out + i, canonical(load_first(y + i, size - i)), size - i);
}

}  // namespace

const sparseagent::Transposes SPARSEAGENT_SYMBOL = {rows_to_tile, tile_to_rows,
                                                    copy_outputs, normalise};
