// dense, of convolutions: four output channels together, with every tap that one of
// them has. An absent weight is a zero then: harmless while the image is finite, which
// is looked at first; one that is not takes a slow way. Wins where neighbouring
// channels share their taps: dense layers, and masks of 4 x 1 blocks, which lose
// nothing.
#include "core/kernel.h"

extern "C" const sparseagent::Kernel SPARSEAGENT_SYMBOL;

namespace {

constexpr int kRows = 4;

}  // namespace

#include "kernels/conv_image.h"
#include "simd/finite.h"

namespace {

// The taps of a group of rows, in an order that is that of every row.
struct Union {
  const LayerView& layer;
  int rows;
  int at[kRows];  // the next entry of each row
  int end[kRows];
  bool alike;  // all rows store the same taps in the same order

  Union(const LayerView& view, int group) : layer(view), alike(true) {
    const int first = group * kRows;
    rows = view.out - first < kRows ? view.out - first : kRows;
    for (int r = 0; r < kRows; ++r) {
      const bool has = r < rows;
      at[r] = has ? view.indptr[first + r] : 0;
      end[r] = has ? view.indptr[first + r + 1] : 0;
    }
    for (int r = 1; r < rows && alike; ++r) {
      alike = end[r] - at[r] == end[0] - at[0];
      for (int k = 0; alike && k < end[0] - at[0]; ++k) {
        alike = view.indices[at[r] + k] == view.indices[at[0] + k];
      }
    }
  }

  // Whether such an order is there: rows that differ must ascend.
  bool possible() const {
    for (int r = 0; !alike && r < rows; ++r) {
      for (int k = at[r] + 1; k < end[r]; ++k) {
        if (layer.indices[k - 1] >= layer.indices[k]) return false;
      }
    }
    return true;
  }

  // The next tap, or -1; entry[r]: where row r has it, or -1.
  int next(int* entry) {
    int tap = -1;
    for (int r = 0; r < rows; ++r) {
      if (at[r] == end[r]) continue;
      const int mine = layer.indices[at[r]];
      if (tap < 0 || (!alike && mine < tap)) tap = mine;
    }
    for (int r = 0; r < kRows; ++r) {
      const bool mine = r < rows && at[r] < end[r] && layer.indices[at[r]] == tap;
      entry[r] = mine ? at[r]++ : -1;
    }
    return tap;
  }
};

// Of all groups; -1 if one has no common order.
long taps_of(const LayerView& layer) {
  long taps = 0;
  int entry[kRows];
  for (int g = 0; g * kRows < layer.out; ++g) {
    Union all(layer, g);
    if (!all.possible()) return -1;
    while (all.next(entry) >= 0) ++taps;
  }
  return taps;
}

// Behind what the formats share: for every tap which rows have it, then whether some
// row of a group lacks one of its taps.
std::size_t packed_bytes(const LayerView& layer, Path path) {
  if (layer.window == nullptr) return 0;
  const long taps = taps_of(layer);
  if (taps < 0 || taps * kRows > sparseagent::kMaxNonzeros) return 0;
  const Header h = header_of(layer, path, taps);
  Parts<const std::int32_t, const float> parts = {};
  const long words = open_parts(h, static_cast<const std::int32_t*>(nullptr), &parts);
  return 4 * static_cast<std::size_t>(words + h.taps + 1);
}

void pack(const LayerView& layer, Path path, void* packed) {
  const Header h = header_of(layer, path, taps_of(layer));
  __builtin_memcpy(packed, &h, sizeof h);
  Parts<std::int32_t, float> parts = {};
  auto* words = static_cast<std::int32_t*>(packed);
  std::int32_t* present = words + open_parts(h, words, &parts);
  std::int32_t& lacks = present[h.taps];
  lacks = 0;
  long tap = 0;
  for (int g = 0; g < h.groups; ++g) {
    Union all(layer, g);
    const long before = tap;
    int entry[kRows];
    for (int number = all.next(entry); number >= 0; number = all.next(entry), ++tap) {
      parts.offset[tap] = offset_of(*layer.window, path, number);
      present[tap] = 0;
      for (int r = 0; r < kRows; ++r) {
        const bool has = entry[r] >= 0;
        parts.weight[tap * kRows + r] = has ? layer.values[entry[r]] : 0.0f;
        present[tap] |= has ? 1 << r : 0;
        lacks |= !has && r < all.rows ? 1 : 0;
      }
    }
    parts.count[g] = static_cast<std::int32_t>(tap - before);
    for (int r = 0; r < kRows; ++r) {
      parts.bias[g * kRows + r] = r < all.rows ? layer.bias[g * kRows + r] : 0.0f;
    }
  }
}

bool finite(const float* x, long count) {
  bool yes = true;
  long i = 0;
  for (; i + kLanes <= count; i += kLanes) yes = yes && all_finite(load(x + i));
  for (; i < count; ++i) yes = yes && __builtin_fabsf(x[i]) < __builtin_inff();
  return yes;
}

// Without touching what an absent weight would meet. `lanes` observations side by side.
void carefully(const Packed& p, const std::int32_t* present, const float* x,
               const Steps& steps, long down, long lanes, float* y) {
  const Header& h = p.h;
  const Window& w = h.window;
  const bool relu = h.activation == Activation::relu;
  long tap = 0;
  for (int g = 0; g < h.groups; tap += p.parts.count[g++]) {
    for (int r = 0; r < kRows && g * kRows + r < h.out; ++r) {
      const long channel = g * kRows + r;
      for (int place = 0; place < w.pixels() * lanes; ++place) {
        const long pixel = place / lanes;
        const float* from = x + pixel / w.out_width() * down +
                            pixel % w.out_width() * steps.in + place % lanes;
        float acc = p.parts.bias[channel];
        for (long k = tap; k < tap + p.parts.count[g]; ++k) {
          if ((present[k] >> r & 1) == 0) continue;
          const long offset = p.parts.offset[k] * lanes / (lanes > 1 ? kLanes : 1);
          acc = __builtin_fmaf(p.parts.weight[k * kRows + r], from[offset], acc);
        }
        acc = acc + 0.0f;
        y[channel * w.pixels() * lanes + place] = relu && acc < 0.0f ? 0.0f : acc;
      }
    }
  }
}

void image(const void* packed, const float* x, float* y, float* scratch, int vectors) {
  const Packed p = open(packed);
  const auto* words = static_cast<const std::int32_t*>(packed);
  Parts<const std::int32_t, const float> parts = {};
  const std::int32_t* present = words + open_parts(p.h, words, &parts);
  const Window& w = p.h.window;
  const long lanes = vectors == 0 ? 1 : static_cast<long>(vectors) * kLanes;
  image_of(p, x, y, scratch, vectors);
  if (present[p.h.taps] == 0 || finite(x, w.in() * lanes)) return;
  // What it made of the image is there already: planes, or padding.
  Steps steps = {w.stride[1] * lanes, 0, 0};
  long down = w.stride[0] * w.padded_width() * lanes;
  if (vectors == 0) {
    const Planes planes(w);
    if (!planes.direct) x = scratch;
    steps.in = 1;
    down = planes.width;
  } else if (w.pads()) {
    x = scratch;
  } else if (w.channels_last) {
    steps.in *= w.channels;
    down *= w.channels;
  }
  carefully(p, present, x, steps, down, lanes, y);
  if (!in_register(p.h.activation)) {
    activate(p.h.activation, p.h.alpha, y, p.h.out * w.pixels() * lanes);
  }
}

void run(const void* packed, const Batch& batch, const float* x, float* y) {
  each_image(batch, x, y, [&](const float* from, float* to, int vectors) {
    image(packed, from, to, batch.scratch, vectors);
  });
}

double work(const LayerView& layer, Path) {
  return static_cast<double>(taps_of(layer)) * kRows * layer.window->pixels();
}

}  // namespace

const sparseagent::Kernel SPARSEAGENT_SYMBOL = {
    "dense",      kLanes,
    kTileVectors, {0.012, 0.012, 0.012},
    false,        false,
    false,        "neighbouring rows with the same taps, or rows that ascend",
    work,         packed_bytes,
    pack,         run,
    true};
