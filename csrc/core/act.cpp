#include "core/act.h"

namespace sparseagent {

void mode_of(const Head& head, const float* y, float* indices) {
  for (std::int32_t a = 0; a < head.actions; ++a) {
    if (head.kind == HeadKind::bernoulli) {
      indices[a] = y[a] > 0 ? 1.0f : 0.0f;
      continue;
    }
    std::int32_t best = 0;
    for (std::int32_t i = 1; i < head.sizes[a] && y[best] == y[best]; ++i) {
      if (!(y[i] <= y[best])) best = i;  // larger, or NaN
    }
    indices[a] = static_cast<float>(best);
    y += head.sizes[a];
  }
}

void start_from(const Head& head, const float* indices, std::int64_t* actions) {
  for (std::int32_t a = 0; a < head.actions; ++a) {
    const std::int64_t start = head.starts == nullptr ? 0 : head.starts[a];
    actions[a] = static_cast<std::int64_t>(indices[a]) + start;
  }
}

void bound(const Head& head, const float* samples, std::int64_t batch, float* actions) {
  for (std::int64_t b = 0; b < batch; ++b) {
    const float* y = samples + b * head.size;
    float* action = actions + b * head.size;
    for (std::int32_t i = 0; i < head.size; ++i) {
      float a = y[i];
      if (head.bounds == HeadKind::clip) {
        a = a < head.low[i] ? head.low[i] : a;
        a = a > head.high[i] ? head.high[i] : a;
      } else if (head.bounds == HeadKind::unscale) {
        a = head.low[i] + 0.5f * (a + 1.0f) * (head.high[i] - head.low[i]);
      }
      action[i] = a;
    }
  }
}

}  // namespace sparseagent
