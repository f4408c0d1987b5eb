#include "core/act.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

namespace sparseagent {
namespace {

// The logit of what is masked, as sb3-contrib has it.
constexpr float kMasked = -1e8f;

constexpr std::int64_t kMostLanes = 16;
constexpr auto kPadding = static_cast<std::int64_t>(kWidthPadding);

// Floats of a tile of so many features, with room for what kernels write behind it.
std::int64_t tile_floats(std::int64_t features) {
  return features * kMostLanes + kPadding;
}

// The mode of a discrete head: outputs [size] -> indices [actions], before the starts.
// The largest output wins, the first of equal ones; a NaN counts as the largest.
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

class Actor {
 public:
  Actor(const Isa& isa, const Head& head, std::int32_t parameter, const Acting& call,
        const HeadRows& rows, float* workspace)
      : isa_(isa),
        head_(head),
        parameter_(parameter),
        call_(call),
        rows_(rows),
        y_(workspace),
        given_(y_ + tile_floats(head.size)),
        action_(given_ + tile_floats(parameter)),
        samples_(action_ + tile_floats(head.actions)),
        scratch_(samples_ + tile_floats(head.actions)) {}

  void run() const {
    apply_masks();
    const bool kernel = call_.draw != nullptr || call_.log_probs != nullptr;
    if (!kernel && !head_.discrete()) {
      if (head_.squash) isa_.heads->squash(rows_.y, rows_.count * head_.size);
      return finish(0, rows_.count, rows_.y);
    }
    const std::int64_t lanes = isa_.heads->lanes;
    for (std::int64_t row = 0; row < rows_.count;) {
      const std::int64_t count = std::min(lanes, rows_.count - row);
      if (!kernel) {
        take_modes(row, count);
        finish(row, count, samples_);
        row += count;
      } else if (4 * count < lanes || count == 1) {
        run_one(row);
        finish(row, 1, samples_);
        row += 1;
      } else {
        run_tile(row, static_cast<std::int32_t>(count));
        finish(row, count, samples_);
        row += count;
      }
    }
  }

 private:
  const float* outputs(std::int64_t row) const { return rows_.y + row * head_.size; }

  std::uint32_t number(std::int64_t row) const {
    const std::int64_t at = rows_.first + row;
    if (call_.rows != nullptr) return call_.rows[at];
    return call_.first + static_cast<std::uint32_t>(at);
  }

  void apply_masks() const {
    if (call_.masks == nullptr) return;
    const std::uint8_t* allowed = call_.masks + rows_.first * head_.size;
    for (std::int64_t i = 0; i < rows_.count * head_.size; ++i) {
      if (allowed[i] == 0) rows_.y[i] = kMasked;
    }
  }

  void take_modes(std::int64_t row, std::int64_t count) const {
    for (std::int64_t i = 0; i < count; ++i) {
      mode_of(head_, outputs(row + i), samples_ + i * head_.actions);
    }
  }

  void run_one(std::int64_t row) const {
    if (needs_modes()) mode_of(head_, outputs(row), action_);
    const float* y = outputs(row);
    if (!head_.discrete()) {  // they lie where the actions will be, without padding
      std::copy_n(y, head_.size, y_);
      y = y_;
    }
    const std::uint32_t number_of_row[kMostLanes] = {number(row)};
    const float* given = parameter_ > 0 ? rows_.parameter + row * parameter_ : nullptr;
    float log_prob[kMostLanes];
    isa_.heads->one(head_,
                    {y, given, number_of_row, call_.draw, action_, log_prob, scratch_});
    isa_.transposes->copy_outputs(action_, head_.actions, samples_);
    put_log_probs(log_prob, row, 1);
  }

  void run_tile(std::int64_t row, std::int32_t count) const {
    const Transposes& turn = *isa_.transposes;
    const std::int32_t lanes = isa_.heads->lanes;
    turn.rows_to_tile(outputs(row), count, head_.size, y_, lanes);
    if (parameter_ > 0) {
      turn.rows_to_tile(rows_.parameter + row * parameter_, count, parameter_, given_,
                        lanes);
    }
    if (needs_modes()) {
      take_modes(row, count);
      turn.rows_to_tile(samples_, count, head_.actions, action_, lanes);
    }
    std::uint32_t numbers[kMostLanes] = {};
    for (std::int32_t i = 0; i < count; ++i) numbers[i] = number(row + i);
    float log_prob[kMostLanes];
    isa_.heads->tile(head_,
                     {y_, given_, numbers, call_.draw, action_, log_prob, scratch_});
    turn.tile_to_rows(action_, count, head_.actions, lanes, samples_);
    put_log_probs(log_prob, row, count);
  }

  bool needs_modes() const {
    return head_.discrete() &&
           (call_.draw == nullptr || head_.kind == HeadKind::epsilon_greedy);
  }

  void put_log_probs(const float* log_prob, std::int64_t row,
                     std::int32_t count) const {
    if (call_.log_probs == nullptr) return;
    float* out = call_.log_probs + rows_.first + row;
    for (std::int32_t i = 0; i < count; ++i) {
      out[i] = log_prob[i] == log_prob[i] ? log_prob[i] : __builtin_nanf("");
    }
  }

  // From samples [count, actions] to what the caller wants.
  void finish(std::int64_t row, std::int64_t count, const float* samples) const {
    const std::int64_t at = (rows_.first + row) * head_.actions;
    const std::int64_t numbers = count * head_.actions;
    if (head_.discrete()) {
      auto* actions = static_cast<std::int64_t*>(call_.actions) + at;
      for (std::int64_t i = 0; i < numbers; ++i) {
        actions[i] = static_cast<std::int64_t>(samples[i]) + start(i % head_.actions);
      }
      return;
    }
    if (call_.samples != nullptr) std::copy_n(samples, numbers, call_.samples + at);
    bound(samples, count, static_cast<float*>(call_.actions) + at);
  }

  std::int64_t start(std::int64_t action) const {
    return head_.starts == nullptr ? 0 : head_.starts[action];
  }

  void bound(const float* samples, std::int64_t count, float* actions) const {
    if (head_.bounds == HeadKind::raw) {
      if (samples != actions) std::copy_n(samples, count * head_.size, actions);
      return;
    }
    const bool clips = head_.bounds == HeadKind::clip;
    for (std::int64_t b = 0; b < count; ++b) {
      for (std::int32_t i = 0; i < head_.size; ++i) {
        const float low = head_.low[i];
        const float high = head_.high[i];
        float a = *samples++;
        if (clips) {
          a = a < low ? low : a;
          a = a > high ? high : a;
        } else {
          a = low + 0.5f * (a + 1.0f) * (high - low);
        }
        *actions++ = a;
      }
    }
  }

  const Isa& isa_;
  const Head& head_;
  const std::int32_t parameter_;
  const Acting& call_;
  const HeadRows& rows_;
  float* const y_;
  float* const given_;
  float* const action_;
  float* const samples_;
  float* const scratch_;
};

}  // namespace

std::int64_t head_workspace(const Head& head, std::int64_t parameter) {
  return tile_floats(head.size) + tile_floats(parameter) +
         2 * tile_floats(head.actions) + head_scratch(head);
}

void act_on(const Isa& isa, const Head& head, std::int32_t parameter,
            const Acting& call, const HeadRows& rows, float* workspace) {
  Actor(isa, head, parameter, call, rows, workspace).run();
}

void check_acting(const Head& head, const Acting& call) {
  const std::string kind = kHeadKinds[static_cast<int>(head.kind)];
  if (!head.samples() && (call.draw != nullptr || call.log_probs != nullptr)) {
    throw std::invalid_argument("deterministic: expected True, got False: the head " +
                                kind + " holds no distribution to sample from");
  }
  if (call.masks != nullptr && !head.takes_masks()) {
    throw std::invalid_argument("action_masks: expected none for the head " + kind);
  }
  if (call.values != nullptr && head.value < 0) {
    throw std::invalid_argument("values: expected an output named value");
  }
}

}  // namespace sparseagent
