// One observation's image as planes over which a whole kernel tap is one offset.
//
// Stride s splits every channel into s x s planes, by the remainders of its padded rows
// and columns: what a tap meets at neighbouring places of the kernel then lies side by
// side. Place (y, x) of the kernel is at y * width + x in each plane, and a tap adds an
// offset of its own. So an output channel is a flat run of span() sums; those between
// the end of one row and the start of the next are nobody's.
#pragma once

#include "core/window.h"

namespace sparseagent {

struct Planes {
  std::int32_t phases[2];  // down, across
  std::int32_t height;     // of a plane
  std::int32_t width;
  bool direct;  // the image is its own planes

  explicit Planes(const Window& w)
      : phases{smaller(w.stride[0], w.padded_height()),
               smaller(w.stride[1], w.padded_width())},
        height((w.padded_height() + phases[0] - 1) / phases[0]),
        width((w.padded_width() + phases[1] - 1) / phases[1]),
        direct(phases[0] == 1 && phases[1] == 1 && !w.pads() && !w.channels_last) {}

  std::int64_t size() const { return std::int64_t{height} * width; }

  // Of all planes of an image.
  std::int64_t floats(const Window& w) const {
    return size() * phases[0] * phases[1] * w.channels;
  }

  // Where plane (down, across) of a channel begins.
  std::int64_t start(std::int32_t channel, std::int32_t down,
                     std::int32_t across) const {
    return ((std::int64_t{channel} * phases[0] + down) * phases[1] + across) * size();
  }

  std::int64_t offset(const Tap& tap) const {
    return start(tap.channel, tap.y % phases[0], tap.x % phases[1]) +
           std::int64_t{tap.y / phases[0]} * width + tap.x / phases[1];
  }

 private:
  static std::int32_t smaller(std::int32_t a, std::int32_t b) { return a < b ? a : b; }
};

}  // namespace sparseagent
