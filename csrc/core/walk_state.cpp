// States into and out of a walk.
#include <algorithm>
#include <cstring>

#include "core/walk.h"

namespace sparseagent {
namespace {

// visit(lane, feature, floats): what lies side by side both in a tile of `width` rows
// and in a layout: all of it, or the rows of one feature, or one row of it.
template <typename Visit>
void each_run(const StateLayout& layout, std::int64_t first, std::int32_t size,
              std::int32_t width, std::int64_t live, Visit visit) {
  live = std::min({live, layout.rows - first, std::int64_t{width}});
  std::int32_t run = std::min(layout.width, width);
  if (first % run != 0 || layout.width % run != 0 || width % run != 0) run = 1;
  if (run == width && run == layout.width && live == width) {
    return visit(0, 0, std::int64_t{run} * size);
  }
  for (std::int32_t lane = 0; lane < live; lane += run) {
    const std::int64_t some = std::min<std::int64_t>(run, live - lane);
    for (std::int32_t f = 0; f < size; ++f) visit(lane, f, some);
  }
}

void copy(const float* from, std::int64_t floats, float* to) {
  if (floats > 64) {
    std::memcpy(to, from, sizeof(float) * static_cast<std::size_t>(floats));
    return;
  }
  for (std::int64_t i = 0; i < floats; ++i) to[i] = from[i];
}

}  // namespace

void Walk::load_states(const Call& call) const {
  const StateRows& states = call.states;
  const StateLayout& layout = states.from_layout;
  const int tiles = batch_.path == Path::tile ? batch_.tiles : call.count;
  for (int t = 0; t < tiles; ++t) {
    const std::int64_t row = std::int64_t{t} * width_;
    const std::int64_t live = std::min<std::int64_t>(width_, call.count - row);
    std::int32_t at = 0;
    for (const Layout::Carried& carried : carried_) {
      float* to = call.workspace + t * batch_.stride + carried.from * width_;
      if (states.from == nullptr || live < width_) {
        std::fill_n(to, std::int64_t{carried.size} * width_, 0.0f);
      }
      if (states.from == nullptr || live <= 0) continue;
      const std::int64_t first = states.first + row;
      each_run(layout, first, carried.size, width_, live,
               [&](std::int32_t lane, std::int32_t f, std::int64_t floats) {
                 copy(states.from + layout.place(first + lane, at + f), floats,
                      to + f * width_ + lane);
               });
      for (std::int32_t lane = 0; states.starts != nullptr && lane < live; ++lane) {
        if (states.starts[first + lane] == 0) continue;
        for (std::int32_t f = 0; f < carried.size; ++f) to[f * width_ + lane] = 0.0f;
      }
      at += carried.size;
    }
  }
}

void Walk::store_states(const Call& call) const {
  const StateRows& states = call.states;
  if (states.to == nullptr) return;
  const StateLayout& layout = states.to_layout;
  const int tiles = batch_.path == Path::tile ? batch_.tiles : call.count;
  for (int t = 0; t < tiles; ++t) {
    const std::int64_t row = std::int64_t{t} * width_;
    const std::int64_t live = std::min<std::int64_t>(width_, call.count - row);
    if (live <= 0) return;
    const std::int64_t first = states.first + row;
    std::int32_t at = 0;
    for (const Layout::Carried& carried : carried_) {
      const float* from = call.workspace + t * batch_.stride + carried.next * width_;
      each_run(layout, first, carried.size, width_, live,
               [&](std::int32_t lane, std::int32_t f, std::int64_t floats) {
                 copy(from + f * width_ + lane, floats,
                      states.to + layout.place(first + lane, at + f));
               });
      at += carried.size;
    }
  }
}

}  // namespace sparseagent
