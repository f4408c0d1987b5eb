// Images as convolutions want them: planes of one observation, padded tiles.
#pragma once

#include "core/planes.h"
#include "simd/pick.h"

namespace {

using sparseagent::Planes;
using sparseagent::Window;

// One plane of a channel, row by row; what is written beyond a row comes later.
inline void fill_plane(const Window& w, const Planes& planes, const Picker& pick,
                       const float* channel, int down, int across, float* to) {
  const long apart = w.channels_last ? w.channels : 1;
  const int step = planes.phases[1];
  // The first and last place that lie within the image.
  const int left = w.padding[1] - across;
  const int first = left > 0 ? (left + step - 1) / step : 0;
  const int beyond = w.width + w.padding[1] - across;
  const int fits = beyond > 0 ? (beyond - 1) / step + 1 : 0;
  const int end = fits < planes.width ? fits : planes.width;
  for (int i = 0; i < planes.height; ++i, to += planes.width) {
    const int y = i * planes.phases[0] + down - w.padding[0];
    if (y < 0 || y >= w.height || end <= first) {
      fill(to, planes.width, 0.0f);
      continue;
    }
    const float* row = channel + static_cast<long>(y) * w.width * apart;
    fill(to, first, 0.0f);
    pick(row + (first * step - left) * apart, end - first, to + first);
    fill(to + end, planes.width - end, 0.0f);
  }
}

// Rows without padding of images whose channels come last, all channels at once: what
// a row holds is a matrix of places by phases and channels, to be turned.
inline bool turns(const Window& w, const Planes& planes) {
  return w.channels_last && w.padding[1] == 0 && kLanes > 1 &&
         planes.phases[1] * w.channels % kLanes == 0 &&
         planes.width * planes.phases[1] <= w.width;
}

inline void turn_row(const Window& w, const Planes& planes, const float* row, int down,
                     long at, float* to) {
  const int columns = planes.phases[1] * w.channels;
  for (int first = 0; first < planes.width; first += kLanes) {
    const int left = planes.width - first;
    const int some = left < kLanes ? left : kLanes;
    for (int column = 0; column < columns; column += kLanes) {
      vec m[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) {
        const int place = first + (i < some ? i : 0);
        m[i] = load(row + static_cast<long>(place) * columns + column);
      }
      transpose(m);
      for (int i = 0; i < kLanes; ++i) {
        const int channel = (column + i) % w.channels;
        const int phase = (column + i) / w.channels;
        float* line = to + planes.start(channel, down, phase) + at + first;
        some == kLanes ? store(line, m[i]) : store_first(line, m[i], some);
      }
    }
  }
}

inline void fill_planes(const Window& w, const Planes& planes, const float* x,
                        float* to) {
  const int rows = planes.height * planes.phases[0];
  if (turns(w, planes) && !w.pads() && rows <= w.height) {
    for (int i = 0; i < rows; ++i) {
      turn_row(w, planes, x + w.place(0, i, 0), i % planes.phases[0],
               i / planes.phases[0] * long{planes.width}, to);
    }
    return;
  }
  const Picker pick(long{planes.phases[1]} * (w.channels_last ? w.channels : 1));
  for (int channel = 0; channel < w.channels; ++channel) {
    const float* from = x + w.place(channel, 0, 0);
    for (int down = 0; down < planes.phases[0]; ++down) {
      for (int across = 0; across < planes.phases[1]; ++across) {
        fill_plane(w, planes, pick, from, down, across,
                   to + planes.start(channel, down, across));
      }
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
        fill(to, padded, 0.0f);
        continue;
      }
      fill(to, w.padding[1] * lanes, 0.0f);
      float* inner = to + w.padding[1] * lanes;
      for (int j = 0; j < w.width; ++j, inner += lanes) {
        const float* from = x + w.place(channel, y, j) * lanes;
        for (long l = 0; l < lanes; l += kLanes) store(inner + l, load(from + l));
      }
      fill(inner, w.padding[3] * lanes, 0.0f);
    }
  }
}

}  // namespace
