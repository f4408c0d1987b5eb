// The action head: from the network's output to the action.
#pragma once

#include <cstdint>
#include <vector>

namespace sparseagent {

struct Head {
  enum class Kind : std::int32_t { raw, argmax, clip, unscale };

  Kind kind = Kind::raw;
  std::vector<float> low;  // bounds of clip and unscale, [out]
  std::vector<float> high;

  // Throws std::invalid_argument unless the bounds are some for `out` outputs.
  void check(std::int32_t out) const;

  bool discrete() const { return kind == Kind::argmax; }

  // outputs [batch, out] -> indices [batch]; for argmax. NaN counts as the largest.
  void apply(const float* outputs, std::int64_t batch, std::int32_t out,
             std::int64_t* indices) const;

  // outputs [batch, out] -> actions [batch, out], may be the same array; for the
  // others.
  void apply(const float* outputs, std::int64_t batch, std::int32_t out,
             float* actions) const;
};

}  // namespace sparseagent
