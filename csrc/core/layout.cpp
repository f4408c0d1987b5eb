#include "core/layout.h"

#include <algorithm>
#include <utility>

#include "core/places.h"

namespace sparseagent {
namespace {

constexpr std::int64_t kAlign = 16;  // floats of a cache line

std::int64_t round_up(std::int64_t n, std::int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

// Kernels write whole vectors, and want a zero behind their inputs.
std::int64_t padded(std::int64_t features) {
  return round_up(features + static_cast<std::int64_t>(kWidthPadding), kAlign);
}

// Whether an op must have its inputs side by side, with nothing behind them.
bool gathers(const Program& program, const Op& op) {
  if (!is_layer(op.kind)) return false;
  const Span& first = op.reads.front();
  return op.reads.size() > 1 ||
         first.size != program.slots[static_cast<std::size_t>(first.slot)];
}

bool writes_apart(const Program& program, const Op& op) {
  return op.kind != OpKind::observe &&
         op.write.size != program.slots[static_cast<std::size_t>(op.write.slot)];
}

std::int64_t room_for(const Op& op) {
  return padded(is_layer(op.kind) ? std::max(op.layer.sums(), op.write.size)
                                  : op.write.size);
}

}  // namespace

Layout::Layout(const Program& program, const std::vector<Regime>& regimes)
    : regimes_(regimes) {
  const std::size_t slots = program.slots.size();
  const std::size_t count = program.ops.size();
  // First the slots, then two for each op: its inputs side by side, its outputs apart.
  std::vector<Tenant> tenants(slots + 2 * count, Tenant{0, count, 0});
  for (std::size_t s = 0; s < slots; ++s) tenants[s].size = padded(program.slots[s]);
  const auto lives = [&](const Span& span, std::size_t at) {
    Tenant& tenant = tenants[static_cast<std::size_t>(span.slot)];
    tenant.first = std::min(tenant.first, at);
    tenant.last = std::max(tenant.last, at);
  };
  for (std::size_t n = 0; n < count; ++n) {
    const Op& op = program.ops[n];
    for (const Span& span : op.reads) lives(span, n);
    lives(op.write, n);
    if (op.kind == OpKind::observe) lives(op.write, 0);  // may be prepared in its place
    if (gathers(program, op))
      tenants[slots + 2 * n] = {padded(op.layer.features()), n, n};
    if (writes_apart(program, op)) {
      tenants[slots + 2 * n + 1] = {room_for(op), n, n};
    } else {
      Tenant& tenant = tenants[static_cast<std::size_t>(op.write.slot)];
      tenant.size = std::max(tenant.size, room_for(op));
    }
  }
  for (const auto& output : program.outputs) lives(output.second, count);
  for (const State& state : program.states) {
    lives(state.from, 0);
    lives(state.next, count);
  }
  stride_ = settle(&tenants);
  for (const Regime& regime : regimes) {
    columns_ = std::max(columns_, regime.columns);
    for (const Op& op : program.ops) {
      scratch_ = std::max(scratch_, scratch_floats(op.layer, regime));
    }
  }

  const auto place = [&](const Span& span) {
    return tenants[static_cast<std::size_t>(span.slot)].place + span.start;
  };
  std::int32_t layers = 0;
  for (std::size_t n = 0; n < count; ++n) {
    const Op& op = program.ops[n];
    Step step = {
        op.kind, 0, op.layer.features(), op.write.size, place(op.write), {}, op.view,
        {},      {}};
    if (op.kind == OpKind::observe) step.number = op.input;
    if (is_layer(op.kind)) {
      step.number = layers++;
      part_floats_ = std::max(part_floats_, static_cast<std::size_t>(room_for(op)));
    }
    for (const Span& span : op.reads) step.x.push_back(place(span));
    if (gathers(program, op)) {
      std::int64_t to = tenants[slots + 2 * n].place;
      for (const Span& span : op.reads) {
        step.gather.push_back({place(span), to, span.size});
        to += span.size;
      }
      step.x = {step.gather.front().to};
    }
    if (writes_apart(program, op)) {
      step.scatter = {{tenants[slots + 2 * n + 1].place, step.y, op.write.size}};
      step.y = step.scatter.front().from;
    }
    steps_.push_back(std::move(step));
  }
  for (const auto& output : program.outputs) {
    outputs_.push_back({place(output.second), output.second.size});
  }
  for (const State& state : program.states) {
    carried_.push_back({place(state.from), place(state.next), state.from.size});
  }
}

std::vector<std::int64_t> Layout::inputs(std::size_t count) const {
  std::vector<std::int64_t> places(count);
  for (const Step& step : steps_) {
    if (step.kind == OpKind::observe) {
      places[static_cast<std::size_t>(step.number)] = step.y;
    }
  }
  return places;
}

std::int64_t Layout::own_floats() const {
  return round_up(stride_ * columns_ + static_cast<std::int64_t>(kWidthPadding),
                  kAlign);
}

}  // namespace sparseagent
