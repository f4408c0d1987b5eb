#include "policy/read_head.h"

#include <cmath>
#include <sstream>

#include "policy/fields.h"

namespace sparseagent {
namespace {

constexpr std::int64_t kMaxStart = 2147483647;

class Reader {
 public:
  Reader(const Json& spec, const TensorFile& file, Program* program)
      : spec_(spec), file_(file), program_(*program), head_(program->head) {}

  void read() {
    const std::string& kind = spec_.at("kind").text("kind");
    std::size_t number = 0;
    while (number < std::size(kHeadKinds) && kind != kHeadKinds[number]) ++number;
    if (number == std::size(kHeadKinds)) {
      refuse("head: unknown kind '" + kind.substr(0, 32) +
             "'; a newer sparseagent may read the file");
    }
    head_.kind = static_cast<HeadKind>(number);
    head_.size = program_.outputs.front().second.size;
    head_.actions = head_.size;
    program_.action_shape = {head_.size};
    find_outputs();
    switch (head_.kind) {
      case HeadKind::raw:
      case HeadKind::clip:
      case HeadKind::unscale: read_bounds(head_.kind); break;
      case HeadKind::argmax: choose({head_.size}, {0}); break;
      case HeadKind::categorical: choose({head_.size}, {start_of(spec_)}); break;
      case HeadKind::multi_categorical: read_choices(); break;
      case HeadKind::bernoulli: break;
      case HeadKind::diag_gaussian: read_gaussian(); break;
      case HeadKind::gsde: read_gsde(); break;
      case HeadKind::epsilon_greedy: read_epsilon(); break;
    }
  }

 private:
  std::int32_t output(const char* name) const {
    for (std::size_t k = 1; k < program_.outputs.size(); ++k) {
      if (program_.outputs[k].first == name) return static_cast<std::int32_t>(k);
    }
    return -1;
  }

  void find_outputs() { head_.value = output("value"); }

  // An output that the head reads as well.
  void read_parameter(const char* name, std::int32_t size) {
    head_.parameter = output(name);
    if (head_.parameter < 0 ||
        program_.outputs[static_cast<std::size_t>(head_.parameter)].second.size !=
            size) {
      refuse(std::string("head: expected an output '") + name + "' of " +
             std::to_string(size) + " features behind the first");
    }
  }

  // ---- discrete actions

  static std::int32_t start_of(const Json& spec) {
    return whole(spec, "start", -kMaxStart, kMaxStart);
  }

  void choose(std::vector<std::int32_t> sizes, std::vector<std::int32_t> starts) {
    head_.actions = static_cast<std::int32_t>(sizes.size());
    head_.sizes = keep(std::move(sizes), &program_.memory);
    head_.starts = keep(std::move(starts), &program_.memory);
    if (head_.kind != HeadKind::multi_categorical) program_.action_shape.clear();
  }

  void read_choices() {
    std::vector<std::int32_t> sizes;
    std::vector<std::int32_t> starts;
    std::int64_t all = 0;
    for (const Json& size : spec_.at("sizes").items("sizes")) {
      sizes.push_back(static_cast<std::int32_t>(size.whole("sizes", 1, head_.size)));
      all += sizes.back();
    }
    for (const Json& start : spec_.at("starts").items("starts")) {
      starts.push_back(
          static_cast<std::int32_t>(start.whole("starts", -kMaxStart, kMaxStart)));
    }
    if (all != head_.size) {
      refuse("sizes: expected " + std::to_string(head_.size) + " together, got " +
             std::to_string(all));
    }
    if (starts.size() != sizes.size()) {
      refuse("starts: expected " + std::to_string(sizes.size()) + " numbers, got " +
             std::to_string(starts.size()));
    }
    program_.action_shape = {static_cast<std::int64_t>(sizes.size())};
    choose(std::move(sizes), std::move(starts));
  }

  void read_epsilon() {
    head_.epsilon = single("epsilon", spec_.at("epsilon").number("epsilon"));
    if (head_.epsilon != 0 && !(head_.epsilon >= 1e-30f && head_.epsilon <= 1)) {
      refuse("epsilon: expected 0, or 1e-30 to 1");
    }
    choose({head_.size}, {start_of(spec_)});
  }

  // ---- continuous actions

  void read_bounds(HeadKind kind) {
    head_.bounds = kind;
    if (kind == HeadKind::raw) return;
    const std::vector<std::int64_t> shape = file_.shape("head.low");
    if (shape.empty() || shape.size() > kMostAxes) {
      refuse("head.low: expected 1 to " + std::to_string(kMostAxes) + " axes");
    }
    const std::vector<float> low = file_.floats("head.low", shape);
    const std::vector<float> high = file_.floats("head.high", shape);
    if (low.size() != static_cast<std::size_t>(head_.size)) {
      refuse("head: expected bounds for " + std::to_string(head_.size) +
             " outputs, got " + std::to_string(low.size()));
    }
    for (std::size_t i = 0; i < low.size(); ++i) {
      if (!(low[i] <= high[i])) {  // or one is NaN
        std::ostringstream text;
        text << "low, high: expected low <= high, got " << low[i] << " and " << high[i];
        refuse(text.str());
      }
      if (kind == HeadKind::unscale &&
          !(std::isfinite(low[i]) && std::isfinite(high[i]))) {
        refuse("box: expected finite bounds to stretch to, got Inf");
      }
    }
    program_.action_shape = shape;
    head_.low = keep(low, &program_.memory);
    head_.high = keep(high, &program_.memory);
  }

  void read_continuous() {
    constexpr HeadKind kBounds[] = {HeadKind::raw, HeadKind::clip, HeadKind::unscale};
    const char* const kNames[] = {"raw", "clip", "unscale"};
    read_bounds(kBounds[numbered("bounds", spec_.at("bounds").text("bounds"), kNames)]);
    head_.squash = spec_.at("squash").truth("squash");
    head_.eps = single("eps", spec_.at("eps").number("eps"));
    if (!(head_.eps >= 1e-30f && head_.eps <= 1)) refuse("eps: expected 1e-30 to 1");
  }

  void read_gaussian() {
    read_continuous();
    if (file_.has("head.log_std")) {
      head_.log_std =
          finite_floats(file_, "head.log_std", {head_.size}, &program_.memory);
    } else {
      read_parameter("log_std", head_.size);
    }
    const Json& range = spec_.at("log_std_range");
    if (range.is_null()) return;
    const auto& pair = range.items("log_std_range");
    if (pair.size() != 2) refuse("log_std_range: expected two numbers");
    const float low = single("log_std_range", pair[0].number("log_std_range"));
    const float high = single("log_std_range", pair[1].number("log_std_range"));
    if (!(low <= high)) refuse("log_std_range: expected low <= high");
    // Beyond what exp can take none counts.
    head_.log_std_low = std::fmin(std::fmax(low, head_.log_std_low), 88.0f);
    head_.log_std_high = std::fmax(std::fmin(high, head_.log_std_high), -87.0f);
  }

  void read_gsde() {
    read_continuous();
    const std::vector<std::int64_t> shape = file_.shape("head.std");
    if (shape.size() != 2 || shape[1] != head_.size) {
      refuse("std: expected [latent, " + std::to_string(head_.size) + "]");
    }
    if (shape[0] < 1 || shape[0] > kMaxDraws / head_.size) {
      refuse("std: expected 1 to " + std::to_string(kMaxDraws) + " numbers");
    }
    head_.latent = static_cast<std::int32_t>(shape[0]);
    head_.std = finite_floats(file_, "head.std", shape, &program_.memory);
    const std::int64_t count = shape[0] * shape[1];
    std::vector<float> squares(static_cast<std::size_t>(count) + kWidthPadding);
    for (std::int64_t i = 0; i < count; ++i) {
      if (!(head_.std[i] >= 0 && head_.std[i] <= 1e18f)) {
        refuse("std: expected numbers from 0 to 1e18");
      }
      squares[static_cast<std::size_t>(i)] = head_.std[i] * head_.std[i];
    }
    head_.variance = keep(std::move(squares), &program_.memory);
    head_.resample = whole(spec_, "resample", 0, kMaxStart);
    read_parameter("latent", head_.latent);
  }

  const Json& spec_;
  const TensorFile& file_;
  Program& program_;
  Head& head_;
};

}  // namespace

void read_head(const Json& spec, const TensorFile& file, Program* program) {
  Reader(spec, file, program).read();
}

}  // namespace sparseagent
