// Convolutions on one observation and on tiles: what the formats share.
//
// kRows output channels go together; each tap that one of them has is met by all, at P
// places at once, in kRows * P registers:
//
//   acc[r][p] = fma(weight[tap][r], x[offset[tap] + p * step], acc[r][p])
//
// On one observation the places are flat runs of planes (core/planes.h), a register of
// them behind the other, and a tap is one offset whatever the stride; what lies between
// two rows is added up too and thrown away. Runs are cut where their inputs would leave
// the first cache. In a tile a place is one pixel of all observations, and offsets are
// those of the image, or of its padded copy.
//
// Packed: Header, count[groups], bias[groups][kRows], offset[taps],
// weight[taps][kRows]. `kRows` is defined by the file that includes this one.
#pragma once

#include "core/kernel.h"
#include "core/planes.h"
#include "kernels/conv_planes.h"
#include "simd/activation.h"

namespace {

using sparseagent::Activation;
using sparseagent::Batch;
using sparseagent::LayerView;
using sparseagent::Path;
using sparseagent::Planes;
using sparseagent::Tap;
using sparseagent::Window;

// Registers of sums, beside which the weights and an input must fit; places of them.
constexpr int kSums = kManyRegisters ? (kRows == 1 ? 28 : 24) : 12;
constexpr int kPlaces = kSums / kRows;

// Floats of inputs that one run may meet and still find in the first cache.
constexpr long kNear = 10 << 10;

struct Header {
  Window window;
  std::int32_t out;
  std::int32_t groups;
  std::int32_t taps;     // of all groups
  std::int32_t rows;     // of a flat run
  std::int32_t columns;  // of a flat run or of a row in a tile
  Activation activation;
  float alpha;
};

template <typename T, typename F>  // both const or not
struct Parts {
  T* count;
  F* bias;
  T* offset;
  F* weight;
};

// The parts behind the header; returns how many 4-byte words they take with it.
template <typename T, typename F, typename Word>
long open_parts(const Header& h, Word* words, Parts<T, F>* parts) {
  long at = sizeof(Header) / 4;
  const auto take = [&](long count) {
    Word* part = words + at;
    at += count;
    return part;
  };
  parts->count = reinterpret_cast<T*>(take(h.groups));
  parts->bias = reinterpret_cast<F*>(take(static_cast<long>(h.groups) * kRows));
  parts->offset = reinterpret_cast<T*>(take(h.taps));
  parts->weight = reinterpret_cast<F*>(take(static_cast<long>(h.taps) * kRows));
  return at;
}

struct Packed {
  const Header& h;
  Parts<const std::int32_t, const float> parts;
};

inline Packed open(const void* packed) {
  const auto* words = static_cast<const std::int32_t*>(packed);
  Packed p = {*static_cast<const Header*>(packed), {}};
  open_parts(p.h, words, &p.parts);
  return p;
}

// work(x, y, vectors) for every observation or tile of a batch.
template <typename Work>
inline void each_image(const Batch& batch, const float* x, float* y, Work work) {
  const bool tile = batch.path == Path::tile;
  for (int i = 0; i < (tile ? batch.tiles : batch.columns); ++i) {
    work(x + i * batch.stride, y + i * batch.stride, tile ? batch.vectors : 0);
  }
}

// ---- one observation

inline int pieces(int size, int most) { return (size + most - 1) / most; }

inline int registers(int floats) { return (floats + kLanes - 1) / kLanes; }

// How many rows a flat run shall have: as few registers as possible that are not full,
// inputs that stay near.
inline int rows_of_run(const Window& w) {
  const Planes planes(w);
  const int height = w.out_height();
  const int width = w.out_width();
  const long phases = static_cast<long>(planes.phases[0]) * planes.phases[1];
  const int reach = (w.kernel[0] - 1) * w.dilation[0] / planes.phases[0];
  int best = 1;
  float least = 0;
  for (int parts = 1; parts <= height; ++parts) {
    const int rows = pieces(height, parts);
    const int used = registers((rows - 1) * planes.width + width);
    const bool fits = used <= kPlaces || rows == 1;
    if (!fits) continue;
    const long met = (rows + reach) * planes.width * phases * w.channels;
    const float cost = static_cast<float>(pieces(height, rows)) *
                       (static_cast<float>(used) + 0.75f) * (met > kNear ? 1.3f : 1.0f);
    if (least == 0 || cost < least) {
      least = cost;
      best = rows;
    }
    if (rows == 1) break;
  }
  return best;
}

// Some rows and columns of the outputs.
struct Area {
  int row;
  int rows;
  int column;
  int columns;
};

// The sums of a group's channels, from flat runs `pitch` a row to their places in y.
inline void put_rows(const Header& h, const Area& area, int group, const float* sums,
                     long next, long pitch, float* y) {
  const long height = h.window.out_height();
  const long width = h.window.out_width();
  for (int r = 0; r < kRows && group * kRows + r < h.out; ++r) {
    float* to = y + ((group * kRows + r) * height + area.row) * width + area.column;
    for (int i = 0; i < area.rows; ++i) {
      const float* from = sums + r * next + i * pitch;
      int j = 0;
      for (; j + kLanes <= area.columns; j += kLanes) store(to + j, load(from + j));
      if (j < area.columns) store_first(to + j, load(from + j), area.columns - j);
      to += width;
    }
  }
}

// All groups over one area of one observation. A group's sums are put in place while
// the next one is added up: to read them at once would mean waiting for the stores.
template <int P>
void flat_run(const Packed& p, const Area& area, const float* x, long pitch, float* y) {
  const Header& h = p.h;
  const bool relu = h.activation == Activation::relu;
  constexpr long kRun = P * kLanes;
  float sums[2][kRows * kRun + kLanes];
  const std::int32_t* offset = p.parts.offset;
  const float* weight = p.parts.weight;
  for (int g = 0; g < h.groups; ++g) {
    vec acc[kRows][P];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 28
      for (int i = 0; i < P; ++i) acc[r][i] = splat(p.parts.bias[g * kRows + r]);
    }
    for (int k = 0; k < p.parts.count[g]; ++k) {
      const float* from = x + offset[k];
      vec w[kRows];
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) w[r] = splat(weight[r]);
#pragma GCC unroll 28
      for (int i = 0; i < P; ++i) {
        const vec input = load(from + i * kLanes);
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) acc[r][i] = fma(w[r], input, acc[r][i]);
      }
      weight += kRows;
    }
    offset += p.parts.count[g];
    float* run = sums[g % 2];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 28
      for (int i = 0; i < P; ++i) {
        store(run + r * kRun + i * kLanes, finish(relu, acc[r][i]));
      }
    }
    if (g > 0) put_rows(h, area, g - 1, sums[(g - 1) % 2], kRun, pitch, y);
  }
  put_rows(h, area, h.groups - 1, sums[(h.groups - 1) % 2], kRun, pitch, y);
}

using FlatRun = void (*)(const Packed&, const Area&, const float*, long, float*);

// flat_run<places> for a number of places known at run time.
template <int P = kPlaces>
FlatRun run_of(int places) {
  if constexpr (P == 1) {
    return flat_run<1>;
  } else {
    return places == P ? flat_run<P> : run_of<P - 1>(places);
  }
}

inline void one_image(const Packed& p, const float* x, float* y, float* scratch) {
  const Header& h = p.h;
  const Planes planes(h.window);
  if (!planes.direct) {
    fill_planes(h.window, planes, x, scratch);
    x = scratch;
  }
  const int height = h.window.out_height();
  const int width = h.window.out_width();
  for (int row = 0; row < height; row += h.rows) {
    const int rows = height - row < h.rows ? height - row : h.rows;
    for (int column = 0; column < width; column += h.columns) {
      const int columns = width - column < h.columns ? width - column : h.columns;
      const int run = (rows - 1) * planes.width + columns;
      const Area area = {row, rows, column, columns};
      run_of(registers(run))(p, area, x + row * planes.width + column, planes.width, y);
    }
  }
}

// ---- tiles

// Where the pixels of a tile lie, in floats.
struct Steps {
  long in;  // from a pixel to the one beside it
  long out;
  long channel;  // of the outputs
};

// All groups at P places side by side, for one vector of observations.
template <int P>
void pixel_run(const Packed& p, const float* x, const Steps& steps, int vectors,
               float* y) {
  const Header& h = p.h;
  const bool relu = h.activation == Activation::relu;
  const std::int32_t* offset = p.parts.offset;
  const float* weight = p.parts.weight;
  for (int g = 0; g < h.groups; ++g) {
    vec acc[kRows][P];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 28
      for (int i = 0; i < P; ++i) acc[r][i] = splat(p.parts.bias[g * kRows + r]);
    }
    for (int k = 0; k < p.parts.count[g]; ++k) {
      const float* from = x + static_cast<long>(offset[k]) * vectors;
      vec w[kRows];
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) w[r] = splat(weight[r]);
#pragma GCC unroll 28
      for (int i = 0; i < P; ++i) {
        const vec input = load(from);
        from += steps.in;
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) acc[r][i] = fma(w[r], input, acc[r][i]);
      }
      weight += kRows;
    }
    offset += p.parts.count[g];
    for (int r = 0; r < kRows && g * kRows + r < h.out; ++r) {
      float* to = y + (g * kRows + r) * steps.channel;
#pragma GCC unroll 28
      for (int i = 0; i < P; ++i) {
        store(to + i * steps.out, finish(relu, acc[r][i]));
      }
    }
  }
}

using PixelRun = void (*)(const Packed&, const float*, const Steps&, int, float*);

template <int P = kPlaces>
PixelRun pixels_of(int places) {
  if constexpr (P == 1) {
    return pixel_run<1>;
  } else {
    return places == P ? pixel_run<P> : pixels_of<P - 1>(places);
  }
}

inline void tile_image(const Packed& p, const float* x, float* y, float* scratch,
                       int vectors) {
  const Header& h = p.h;
  const Window& w = h.window;
  const long lanes = static_cast<long>(vectors) * kLanes;
  if (w.pads()) {
    pad_tile(w, x, lanes, scratch);
    x = scratch;
  }
  const bool last = w.channels_last && !w.pads();
  const long across = last ? w.channels : 1;
  const long down = w.padded_width() * across;
  const int width = w.out_width();
  const Steps steps = {w.stride[1] * across * lanes, lanes, w.pixels() * lanes};
  for (int row = 0; row < w.out_height(); ++row) {
    for (int column = 0; column < width; column += h.columns) {
      const int columns = width - column < h.columns ? width - column : h.columns;
      const PixelRun run = pixels_of(columns);
      const long from = row * w.stride[0] * down + column * w.stride[1] * across;
      const long to = static_cast<long>(row) * width + column;
      for (long lane = 0; lane < lanes; lane += kLanes) {
        run(p, x + from * lanes + lane, steps, vectors, y + to * lanes + lane);
      }
    }
  }
}

// ---- packing

inline Header header_of(const LayerView& layer, Path path, long taps) {
  const Window& w = *layer.window;
  Header h = {};
  h.window = w;
  h.out = layer.out;
  h.groups = (layer.out + kRows - 1) / kRows;
  h.taps = static_cast<std::int32_t>(taps);
  const int width = w.out_width();
  const bool one = path == Path::one;
  h.rows = one ? rows_of_run(w) : 1;
  const int most = h.rows > 1 ? width : one ? kPlaces * kLanes : kPlaces;
  const int parts = pieces(width, most);
  h.columns = pieces(width, parts);
  h.activation = layer.activation;
  h.alpha = layer.alpha;
  return h;
}

// What a tap adds to the address of a place.
inline std::int32_t offset_of(const Window& w, Path path, std::int32_t number) {
  const Tap tap(w, number);
  if (path == Path::one) return static_cast<std::int32_t>(Planes(w).offset(tap));
  const std::int32_t place =
      w.pads() ? (tap.channel * w.padded_height() + tap.y) * w.padded_width() + tap.x
               : w.place(tap.channel, tap.y, tap.x);
  return place * kLanes;
}

inline void image_of(const Packed& p, const float* x, float* y, float* scratch,
                     int vectors) {
  vectors == 0 ? one_image(p, x, y, scratch) : tile_image(p, x, y, scratch, vectors);
  const Header& h = p.h;
  if (in_register(h.activation)) return;
  const long width = vectors == 0 ? 1 : static_cast<long>(vectors) * kLanes;
  activate(h.activation, h.alpha, y, h.out * h.window.pixels() * width);
}

}  // namespace
