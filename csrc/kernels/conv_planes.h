// Images as convolutions want them: planes of one observation, padded tiles.
#pragma once

#include "core/planes.h"
#include "simd/vec.h"

namespace {

using sparseagent::Planes;
using sparseagent::Window;

inline void zeros(float* to, long count) {
  for (long i = 0; i < count; ++i) to[i] = 0.0f;
}

// to[i] = from[i * step].
template <int Step>
inline void pick_fixed(const float* from, long count, float* to) {
  for (long i = 0; i < count; ++i) to[i] = from[i * Step];
}

inline void pick(const float* from, long step, long count, float* to) {
  if (step == 1) return pick_fixed<1>(from, count, to);
  if (step == 2) return pick_fixed<2>(from, count, to);
  if (step == 4) return pick_fixed<4>(from, count, to);
  for (long i = 0; i < count; ++i) to[i] = from[i * step];
}

// One row of the image, or null for one outside it, to a row of each of its planes.
inline void fill_row(const Window& w, const Planes& planes, const float* row,
                     float* to) {
  const long apart = w.channels_last ? w.channels : 1;
  const int step = planes.phases[1];
  for (int phase = 0; phase < step; ++phase, to += planes.size()) {
    if (row == nullptr) {
      zeros(to, planes.width);
      continue;
    }
    // The first and last place that lie within the image.
    const int left = w.padding[1] - phase;
    const int first = left > 0 ? (left + step - 1) / step : 0;
    const int beyond = w.width + w.padding[1] - phase;
    const int fits = beyond > 0 ? (beyond - 1) / step + 1 : 0;
    const int end = fits < planes.width ? fits : planes.width;
    if (end <= first) {
      zeros(to, planes.width);
      continue;
    }
    zeros(to, first);
    pick(row + (first * step - left) * apart, step * apart, end - first, to + first);
    zeros(to + end, planes.width - end);
  }
}

inline void fill_planes(const Window& w, const Planes& planes, const float* x,
                        float* to) {
  const int rows = planes.height * planes.phases[0];
  for (int channel = 0; channel < w.channels; ++channel) {
    for (int i = 0; i < rows; ++i) {
      const int y = i - w.padding[0];
      const bool inside = y >= 0 && y < w.height;
      const float* row = inside ? x + w.place(channel, y, 0) : nullptr;
      const long start = planes.start(channel, i % planes.phases[0], 0);
      fill_row(w, planes, row, to + start + i / planes.phases[0] * long{planes.width});
    }
  }
}

// A tile's image with its padding, channels first.
inline void pad_tile(const Window& w, const float* x, long lanes, float* to) {
  const long padded = w.padded_width() * lanes;
  for (int channel = 0; channel < w.channels; ++channel) {
    for (int i = 0; i < w.padded_height(); ++i, to += padded) {
      const int y = i - w.padding[0];
      if (y < 0 || y >= w.height) {
        zeros(to, padded);
        continue;
      }
      zeros(to, w.padding[1] * lanes);
      float* inner = to + w.padding[1] * lanes;
      for (int j = 0; j < w.width; ++j, inner += lanes) {
        const float* from = x + w.place(channel, y, j) * lanes;
        for (long l = 0; l < lanes; l += kLanes) store(inner + l, load(from + l));
      }
      zeros(inner, w.padding[3] * lanes);
    }
  }
}

}  // namespace
