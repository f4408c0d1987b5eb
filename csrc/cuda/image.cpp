#include "cuda/image.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <numeric>
#include <stdexcept>
#include <string>

#include "core/places.h"

namespace sparseagent::cuda {
namespace {

// Places that a norm works in: two times 16 partial sums.
constexpr std::int64_t kScratch = 32;

constexpr std::uint32_t kNoWords = ~0u;

[[noreturn]] void refuse(const std::string& what) {
  throw std::invalid_argument("cuda: expected " + what +
                              "; device=\"cpu\" runs this policy");
}

// Places of what a sampler works on: outputs, parameters, actions, two numbers an
// output.
std::int64_t room_for(const Program& program) {
  const Head& head = program.head;
  if (!head.samples()) return 0;
  std::int64_t features = 0;
  if (head.parameter >= 0) {
    features = program.outputs[static_cast<std::size_t>(head.parameter)].second.size;
  }
  return 3 * std::int64_t{head.size} + features + head.actions;
}

[[noreturn]] void refuse_kind(OpKind kind, std::size_t number) {
  const auto at = static_cast<std::size_t>(kind);
  const std::string name = at < std::size(kOpKinds) ? kOpKinds[at] : "unknown op";
  refuse("ops that CUDA kernels exist for, got ops[" + std::to_string(number) +
         "], a " + name);
}

void check_count(const char* of, std::size_t count, int most) {
  if (count <= static_cast<std::size_t>(most)) return;
  refuse("at most " + std::to_string(most) + " " + of + ", got " +
         std::to_string(count));
}

std::int32_t length(const LayerView& layer, std::int32_t row) {
  return layer.indptr[(row + 1) * layer.runs] - layer.indptr[row * layer.runs];
}

// Pairs of a chain.
std::uint32_t pairs_of(const LayerView& layer, std::int32_t chain) {
  const std::int32_t entries = layer.indptr[chain + 1] - layer.indptr[chain];
  return static_cast<std::uint32_t>((entries + 1) / 2);
}

std::uint32_t word(float number) {
  std::uint32_t bits;
  std::memcpy(&bits, &number, sizeof bits);
  return bits;
}

}  // namespace

Outline::Outline(const Program& program) {
  check_count("ops", program.ops.size(), kMostSteps);
  check_count("inputs", program.inputs.size(), kMostInputs);
  check_count("outputs", program.outputs.size(), kMostOutputs);
  settle_slots(program);
  for (std::size_t n = 0; n < program.ops.size(); ++n) add(program.ops[n], program, n);
  for (const auto& output : program.outputs) {
    Output& to = net_.outputs[&output - program.outputs.data()];
    to = {place(output.second), output.second.size};
  }
  add_head(program.head);
}

// Slots that do not live at the same time share their places. Place 0 is the zeros that
// chains of odd length end with.
void Outline::settle_slots(const Program& program) {
  const std::size_t slots = program.slots.size();
  const std::size_t count = program.ops.size();
  std::vector<Tenant> tenants(slots + count + 1, Tenant{0, count, 0});
  for (std::size_t s = 0; s < slots; ++s) tenants[s].size = program.slots[s];
  const auto lives = [&](const Span& span, std::size_t at) {
    Tenant& tenant = tenants[static_cast<std::size_t>(span.slot)];
    tenant.first = std::min(tenant.first, at);
    tenant.last = std::max(tenant.last, at);
  };
  for (std::size_t n = 0; n < count; ++n) {
    for (const Span& span : program.ops[n].reads) lives(span, n);
    lives(program.ops[n].write, n);
    if (program.ops[n].kind == OpKind::norm) tenants[slots + n] = {kScratch, n, n};
  }
  for (const auto& output : program.outputs) lives(output.second, count);
  tenants.back() = {room_for(program), count, count};
  net_.places = static_cast<std::int32_t>(1 + settle(&tenants));
  for (std::size_t t = 0; t < tenants.size(); ++t) {
    const auto at = static_cast<std::uint32_t>(1 + tenants[t].place);
    t < slots ? slots_.push_back(at) : scratch_.push_back(at);
  }
  net_.room = scratch_.back();
}

std::uint32_t Outline::place(const Span& span) const {
  return slots_[static_cast<std::size_t>(span.slot)] +
         static_cast<std::uint32_t>(span.start);
}

std::uint32_t Outline::add_words(const float* numbers, std::int64_t count) {
  if (numbers == nullptr) return kNoWords;
  const auto at = static_cast<std::uint32_t>(words_.size());
  for (std::int64_t i = 0; i < count; ++i) words_.push_back(word(numbers[i]));
  return at;
}

std::uint32_t Outline::add_words(const std::int32_t* numbers, std::int64_t count) {
  if (numbers == nullptr) return kNoWords;
  const auto at = static_cast<std::uint32_t>(words_.size());
  words_.insert(words_.end(), numbers, numbers + count);
  return at;
}

void Outline::add(const Op& op, const Program& program, std::size_t number) {
  Step step = {};
  step.out = op.write.size;
  step.y = place(op.write);
  if (!op.reads.empty()) step.x = place(op.reads[0]);
  if (op.reads.size() > 1) step.z = place(op.reads[1]);
  step.activation = op.view.activation;
  step.alpha = op.view.alpha;
  switch (op.kind) {
    case OpKind::observe:
      step.kind = StepKind::observe;
      step.rule = op.input;
      add_observe(&step, program.inputs[static_cast<std::size_t>(op.input)]);
      break;
    case OpKind::linear:
      step.kind = StepKind::linear;
      add_linear(&step, op);
      break;
    case OpKind::map:
      step.kind = StepKind::map;
      add_view(&step, op.view);
      if (op.view.scale == nullptr) break;
      step.bits |= kWeighted;
      step.words = add_words(op.view.scale, op.view.in);
      add_words(op.view.shift, op.view.in);
      break;
    case OpKind::norm:
      step.kind = StepKind::norm;
      step.rule = static_cast<std::int32_t>(op.view.norm);
      step.z = scratch_[number];
      add_view(&step, op.view);
      break;
    case OpKind::combine:
      step.kind = StepKind::combine;
      step.rule = static_cast<std::int32_t>(op.view.combine);
      add_view(&step, op.view);
      if (op.view.weight == nullptr) break;
      step.bits |= kWeighted;
      step.words = add_words(op.view.weight, op.view.in);
      break;
    case OpKind::reduce:
      step.kind = StepKind::reduce;
      step.rule = static_cast<std::int32_t>(op.view.reduce);
      add_view(&step, op.view);
      if (op.view.weight == nullptr) break;
      step.bits |= kWeighted;
      step.words = add_words(op.view.weight, op.view.in / op.view.groups);
      break;
    default: refuse_kind(op.kind, number);
  }
  net_.steps[net_.step_count++] = step;
}

void Outline::add_view(Step* step, const OpView& view) {
  step->in = view.in;
  step->parts = view.groups;
  step->low = view.low;
  step->high = view.high;
  step->eps = view.eps;
  if (view.has_low) step->bits |= kHasLow;
  if (view.has_high) step->bits |= kHasHigh;
  if (view.strided) step->bits |= kStrided;
}

void Outline::add_observe(Step* step, const Input& input) {
  const ObservationStep& s = input.step;
  step->in = s.size;
  if (!s.columns.empty()) {
    step->bits = kSome;
    step->z = add_words(s.columns.data(), static_cast<std::int64_t>(s.columns.size()));
  }
  if (s.only_casts()) {
    step->bits |= kCast;
    return;
  }
  if (!s.categories.empty()) {
    step->bits |= kOneHot;
    step->words = static_cast<std::uint32_t>(words_.size());
    std::uint32_t number = 0;
    for (const std::int32_t count : s.categories) {
      for (std::int32_t i = 0; i < count; ++i) {
        words_.insert(words_.end(), {number, static_cast<std::uint32_t>(i),
                                     static_cast<std::uint32_t>(count)});
      }
      ++number;
    }
    return;
  }
  if (s.single) step->bits |= kSingle;
  if (!s.shift.empty()) step->bits |= kShifts;
  if (!s.scale.empty()) step->bits |= kScales;
  if (s.scale.size() == 1) step->bits |= kOneScale;
  step->words = static_cast<std::uint32_t>(doubles_.size());
  doubles_.insert(doubles_.end(), {s.low, s.high});
  doubles_.insert(doubles_.end(), s.shift.begin(), s.shift.end());
  doubles_.insert(doubles_.end(), s.scale.begin(), s.scale.end());
}

void Outline::add_linear(Step* step, const Op& op) {
  const LayerView& layer = op.layer;
  step->in = layer.in;
  step->parts = layer.runs;
  step->activation = layer.activation;
  step->alpha = layer.alpha;
  step->rows = 0;
  for (const auto& order : orders_) {
    step->rows += static_cast<std::uint32_t>(order.size());
  }
  std::vector<std::uint32_t> sources;
  for (const Span& span : op.reads) {
    for (std::int32_t i = 0; i < span.size; ++i) {
      sources.push_back(place(span) + static_cast<std::uint32_t>(i));
    }
  }
  sources_.push_back(std::move(sources));
  targets_.push_back(step->y);
  std::vector<std::int32_t> order(static_cast<std::size_t>(layer.out));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return length(layer, a) > length(layer, b);
  });
  orders_.push_back(std::move(order));
  ends_.push_back(static_cast<std::uint32_t>(words_.size()));
  for (const std::int32_t row : orders_.back()) {
    for (std::int32_t run = 0; run < layer.runs; ++run) {
      pairs_ += pairs_of(layer, row * layer.runs + run);
      if (layer.runs > 1) words_.push_back(pairs_);
    }
  }
}

void Outline::add_head(const Head& head) {
  net_.head = head;
  net_.whole = head.discrete();
  const std::int64_t entries = std::int64_t{head.latent} * head.size;
  head_ = {add_words(head.low, head.size),      add_words(head.high, head.size),
           add_words(head.log_std, head.size),  add_words(head.std, entries),
           add_words(head.variance, entries),   add_words(head.sizes, head.actions),
           add_words(head.starts, head.actions)};
}

Net Outline::net_at(const std::uint32_t* words, const double* doubles) const {
  Net net = net_;
  net.words = words;
  net.doubles = doubles;
  const auto floats = [&](std::uint32_t at) {
    return at == kNoWords ? nullptr : reinterpret_cast<const float*>(words + at);
  };
  const auto whole = [&](std::uint32_t at) {
    return at == kNoWords ? nullptr : reinterpret_cast<const std::int32_t*>(words + at);
  };
  net.head.low = floats(head_.low);
  net.head.high = floats(head_.high);
  net.head.log_std = floats(head_.log_std);
  net.head.std = floats(head_.std);
  net.head.variance = floats(head_.variance);
  net.head.sizes = whole(head_.sizes);
  net.head.starts = whole(head_.starts);
  return net;
}

Weights pack(const Outline& outline, const std::vector<LayerView>& layers,
             const Shape& shape) {
  Weights weights;
  for (std::size_t n = 0; n < layers.size(); ++n) {
    const LayerView& layer = layers[n];
    const auto offset = [&](std::int32_t k) {
      return shape.offset(outline.source(n, layer.indices[k]));
    };
    std::uint32_t ends = outline.ends(n);
    for (const std::int32_t r : outline.order(n)) {
      const std::int64_t chains = static_cast<std::int64_t>(r) * layer.runs;
      Row row = {layer.bias[r],
                 shape.offset(outline.target(n) + static_cast<std::uint32_t>(r)),
                 static_cast<std::uint32_t>(weights.pairs.size()), ends};
      for (std::int64_t chain = chains; chain < chains + layer.runs; ++chain) {
        const std::int32_t end = layer.indptr[chain + 1];
        for (std::int32_t k = layer.indptr[chain]; k < end; k += 2) {
          Pair pair = {layer.values[k], offset(k), 0.0f, 0};
          if (k + 1 < end) {
            pair.value1 = layer.values[k + 1];
            pair.at1 = offset(k + 1);
          }
          weights.pairs.push_back(pair);
        }
      }
      if (layer.runs == 1) {
        row.end = static_cast<std::uint32_t>(weights.pairs.size());
      } else {
        ends += static_cast<std::uint32_t>(layer.runs);
      }
      weights.rows.push_back(row);
    }
  }
  return weights;
}

}  // namespace sparseagent::cuda
