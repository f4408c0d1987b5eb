#include "core/head.h"

#include <cmath>
#include <sstream>
#include <stdexcept>
#include <string>

namespace sparseagent {

void Head::check(std::int32_t out) const {
  if (kind != Kind::clip && kind != Kind::unscale) return;
  const auto size = static_cast<std::size_t>(out);
  if (low.size() != size || high.size() != size) {
    throw std::invalid_argument(
        "head: expected bounds for " + std::to_string(out) + " outputs, got " +
        std::to_string(low.size() == size ? high.size() : low.size()));
  }
  for (std::size_t i = 0; i < size; ++i) {
    if (!(low[i] <= high[i])) {  // or one is NaN
      std::ostringstream text;
      text << "low, high: expected low <= high, got " << low[i] << " and " << high[i];
      throw std::invalid_argument(text.str());
    }
    if (kind == Kind::unscale && !(std::isfinite(low[i]) && std::isfinite(high[i]))) {
      throw std::invalid_argument("box: expected finite bounds to stretch to, got Inf");
    }
  }
}

void Head::apply(const float* outputs, std::int64_t batch, std::int32_t out,
                 std::int64_t* indices) const {
  for (std::int64_t b = 0; b < batch; ++b) {
    const float* y = outputs + b * out;
    std::int32_t best = 0;
    for (std::int32_t i = 1; i < out && y[best] == y[best]; ++i) {
      if (!(y[i] <= y[best])) best = i;  // larger, or NaN
    }
    indices[b] = best;
  }
}

void Head::apply(const float* outputs, std::int64_t batch, std::int32_t out,
                 float* actions) const {
  for (std::int64_t b = 0; b < batch; ++b) {
    const float* y = outputs + b * out;
    float* action = actions + b * out;
    for (std::int32_t i = 0; i < out; ++i) {
      const auto at = static_cast<std::size_t>(i);
      float a = y[i];
      if (kind == Kind::clip) {
        a = a < low[at] ? low[at] : a;
        a = a > high[at] ? high[at] : a;
      } else if (kind == Kind::unscale) {
        a = low[at] + 0.5f * (a + 1.0f) * (high[at] - low[at]);
      }
      action[i] = a;
    }
  }
}

}  // namespace sparseagent
