// pool: the largest number in every window of every channel.
//
// Taps in ascending order, m = (tap > m or tap is NaN) ? tap : m, from -inf on, which
// is also what lies outside the image. A NaN that is m stays it, unless another NaN
// comes.
#include "core/op.h"
#include "simd/vec.h"

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

void one(const OpView& op, const float* const* x, float* y) {
  const Window& w = op.window;
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
      each_tap(w, channel, down, across, [&](long at) {
        const vec v = load(x[0] + at * width + c);
        most = select(is_nan(v), v, select(less(most, v), v, most));
      });
      store(y + to * width + c, most);
    }
  });
}

}  // namespace

const sparseagent::OpKernel SPARSEAGENT_SYMBOL = {"pool", one, tile};
