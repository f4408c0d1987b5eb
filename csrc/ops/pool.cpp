// pool: the largest number in every window of every channel.
//
// Taps in ascending order, m = (tap > m or tap is NaN) ? tap : m, from -inf on, which
// is also what lies outside the image. A NaN that is m stays it, unless another NaN
// comes.
#include "core/op.h"
#include "simd/pick.h"

extern "C" const sparseagent::OpKernel SPARSEAGENT_SYMBOL;

namespace {

using sparseagent::OpView;
using sparseagent::Window;

// The taps of one place that lie within the image, along one axis.
struct Taps {
  int first;
  int end;
  int at;  // where tap 0 lies

  Taps(const Window& w, int axis, int place) {
    const int size = axis == 0 ? w.height : w.width;
    at = place * w.stride[axis] - w.padding[axis];
    first = 0;
    end = w.kernel[axis];
    while (first < end && at + first * w.dilation[axis] < 0) ++first;
    while (first < end && at + (end - 1) * w.dilation[axis] >= size) --end;
  }
};

// look(place of a tap) for every tap of one channel at one place, in ascending order.
template <typename Look>
inline void each_tap(const Window& w, int channel, const Taps& down, const Taps& across,
                     Look look) {
  for (int i = down.first; i < down.end; ++i) {
    for (int j = across.first; j < across.end; ++j) {
      look(static_cast<long>(w.place(channel, down.at + i * w.dilation[0],
                                     across.at + j * w.dilation[1])));
    }
  }
}

template <typename Pool>
inline void each_place(const Window& w, Pool pool) {
  const int height = w.out_height();
  const int width = w.out_width();
  for (int channel = 0; channel < w.channels; ++channel) {
    for (int i = 0; i < height; ++i) {
      const Taps down(w, 0, i);
      for (int j = 0; j < width; ++j) {
        pool(channel, down, Taps(w, 1, j), (channel * height + i) * width + j);
      }
    }
  }
}

inline vec larger(vec most, vec v) {
  return select(is_nan(v), v, select(less(most, v), v, most));
}

// One observation, channels first, vectors of places: a row's taps first, then row by
// row, which meets them in the same order. kPart places at a time, of a stride and a
// width that their inputs have room for.
constexpr int kPart = 64;
constexpr int kMostStride = 4;
constexpr int kMostSpan = 64;
constexpr int kMostRows = 4;

inline bool in_parts(const Window& w) {
  return !w.channels_last && w.stride[1] <= kMostStride &&
         w.dilation[1] * (w.kernel[1] - 1) < kMostSpan && w.kernel[0] <= kMostRows;
}

inline void pool_part(const Window& w, const Picker& pick, const float* channel,
                      int row, int column, int places, float* y) {
  const int step = w.stride[1];
  const int reach = (places - 1) * step + 1;
  const int met = reach + w.dilation[1] * (w.kernel[1] - 1);
  const int from = column * step - w.padding[1];
  const int first = from < 0 ? -from : 0;  // of those met, within the image
  const int end = from + met > w.width ? w.width - from : met;
  const float lowest = -__builtin_inff();
  float taps[kMostRows][kPart * kMostStride + kMostSpan + 2 * kLanes];
  float most[kPart * kMostStride + 2 * kLanes];
  const Taps down(w, 0, row);
  // All rows first: to read at once what was just written would mean waiting for it.
  for (int k = down.first; k < down.end; ++k) {
    const float* line =
        channel + static_cast<long>(down.at + k * w.dilation[0]) * w.width + from;
    const int live = end > first ? end : 0;
    fill(taps[k], live > 0 ? first : met, lowest);
    if (live > 0) copy(line + first, live - first, taps[k] + first);
    fill(taps[k] + live, met - live + kLanes, lowest);
  }
  for (int i = 0; i < reach; i += kLanes) {
    vec m = splat(lowest);
    for (int k = down.first; k < down.end; ++k) {
      for (int j = 0; j < w.kernel[1]; ++j) {
        m = larger(m, load(taps[k] + i + j * w.dilation[1]));
      }
    }
    store(most + i, m);
  }
  pick(most, places, y);
}

void one(const OpView& op, const float* const* x, float* y) {
  const Window& w = op.window;
  if (in_parts(w)) {
    const int width = w.out_width();
    const Picker pick(w.stride[1]);
    for (int channel = 0; channel < w.channels; ++channel) {
      const float* from = x[0] + static_cast<long>(channel) * w.height * w.width;
      for (int i = 0; i < w.out_height(); ++i, y += width) {
        for (int j = 0; j < width; j += kPart) {
          pool_part(w, pick, from, i, j, width - j < kPart ? width - j : kPart, y + j);
        }
      }
    }
    return;
  }
  each_place(w, [&](int channel, const Taps& down, const Taps& across, long to) {
    float most = -__builtin_inff();
    each_tap(w, channel, down, across, [&](long at) {
      const float v = x[0][at];
      most = v > most || v != v ? v : most;
    });
    y[to] = most;
  });
}

void tile(const OpView& op, const float* const* x, float* y, int vectors) {
  const long width = static_cast<long>(vectors) * kLanes;
  const Window& w = op.window;
  each_place(w, [&](int channel, const Taps& down, const Taps& across, long to) {
    for (long c = 0; c < width; c += kLanes) {
      vec most = splat(-__builtin_inff());
      each_tap(w, channel, down, across,
               [&](long at) { most = larger(most, load(x[0] + at * width + c)); });
      store(y + to * width + c, most);
    }
  });
}

}  // namespace

const sparseagent::OpKernel SPARSEAGENT_SYMBOL = {"pool", one, tile};
