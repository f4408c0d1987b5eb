#include "core/layout.h"

#include <algorithm>
#include <cstring>

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
  if (op.kind != OpKind::linear) return false;
  const Span& first = op.reads.front();
  return op.reads.size() > 1 ||
         first.size != program.slots[static_cast<std::size_t>(first.slot)];
}

bool writes_apart(const Program& program, const Op& op) {
  return op.kind != OpKind::observe &&
         op.write.size != program.slots[static_cast<std::size_t>(op.write.slot)];
}

std::int64_t room_for(const Op& op) {
  return padded(op.kind == OpKind::linear ? std::max(op.layer.chains(), op.write.size)
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
    if (gathers(program, op)) tenants[slots + 2 * n] = {padded(op.layer.in), n, n};
    if (writes_apart(program, op)) {
      tenants[slots + 2 * n + 1] = {room_for(op), n, n};
    } else {
      Tenant& tenant = tenants[static_cast<std::size_t>(op.write.slot)];
      tenant.size = std::max(tenant.size, room_for(op));
    }
  }
  for (const auto& output : program.outputs) lives(output.second, count);
  stride_ = settle(&tenants);
  for (const Regime& regime : regimes) {
    columns_ = std::max(columns_, regime.columns);
    widths_.push_back(regime.path == Path::tile ? regime.width() : 1);
  }

  const auto place = [&](const Span& span) {
    return tenants[static_cast<std::size_t>(span.slot)].place + span.start;
  };
  std::int32_t layers = 0;
  for (std::size_t n = 0; n < count; ++n) {
    const Op& op = program.ops[n];
    Step step = {op.kind, false, 0, op.write.size, place(op.write), {}, op.view,
                 {},      {},    {}};
    if (op.kind == OpKind::observe) step.number = op.input;
    if (op.kind == OpKind::linear) {
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
    step.plain =
        op.kind == OpKind::linear && step.gather.empty() && step.scatter.empty();
    if (op.kind != OpKind::observe && op.kind != OpKind::linear) {
      for (const Regime& regime : regimes) {
        step.kernels.push_back(&op_kernel(*regime.isa, op.kind));
      }
    }
    steps_.push_back(std::move(step));
  }
  for (const auto& output : program.outputs) {
    outputs_.push_back({place(output.second), 0, output.second.size});
  }
}

std::size_t Layout::floats() const {
  return static_cast<std::size_t>(
      round_up(stride_ * columns_ + static_cast<std::int64_t>(kWidthPadding), kAlign));
}

void Layout::move(const std::vector<Move>& moves, const Batch& batch) const {
  if (moves.empty()) return;
  const Regime& regime = regimes_[batch.regime];
  const bool tile = regime.path == Path::tile;
  const std::int64_t width = widths_[batch.regime];
  const int times = tile ? regime.tiles : batch.count;
  for (const Move& m : moves) {
    for (int i = 0; i < times; ++i) {
      float* base = batch.workspace + i * stride_ * width;
      std::memcpy(base + m.to * width, base + m.from * width,
                  sizeof(float) * static_cast<std::size_t>(m.size * width));
    }
  }
}

void Layout::load(const Step& step, const Batch& batch) const {
  const Regime& regime = regimes_[batch.regime];
  const float* rows = batch.rows[step.number];
  float* x = at(batch, step.y);
  if (regime.path == Path::tile) {
    const auto width = static_cast<std::int32_t>(widths_[batch.regime]);
    for (int t = 0; t < regime.tiles; ++t) {
      // None in those tiles at the end that are not needed.
      const int filled = std::clamp(batch.count - t * width, 0, width);
      regime.isa->transposes->rows_to_tile(
          rows + static_cast<std::int64_t>(t) * width * step.size, filled, step.size,
          x + t * width * stride_, width);
    }
    return;
  }
  for (std::int32_t i = 0; i < batch.count; ++i) {
    std::memcpy(x + i * stride_, rows + static_cast<std::int64_t>(i) * step.size,
                sizeof(float) * static_cast<std::size_t>(step.size));
  }
}

void Layout::run(const Step& step, const PackedLayer* layer, const Batch& batch) const {
  const Regime& regime = regimes_[batch.regime];
  if (step.kind == OpKind::observe) return load(step, batch);
  move(step.gather, batch);
  float* y = at(batch, step.y);
  if (step.kind == OpKind::linear) {
    layer->run(regime, at(batch, step.x.front()), y, stride_);
  } else {
    const OpKernel& kernel = *step.kernels[batch.regime];
    const float* x[2] = {};
    const bool tile = regime.path == Path::tile;
    const std::int64_t next = stride_ * widths_[batch.regime];
    for (int i = 0; i < (tile ? regime.tiles : batch.count); ++i) {
      for (std::size_t k = 0; k < step.x.size(); ++k) {
        x[k] = at(batch, step.x[k]) + i * next;
      }
      tile ? kernel.tile(step.view, x, y + i * next, regime.vectors)
           : kernel.one(step.view, x, y + i * next);
    }
  }
  move(step.scatter, batch);
}

void Layout::copy_outputs(const Batch& batch) const {
  const Regime& regime = regimes_[batch.regime];
  const Transposes& transposes = *regime.isa->transposes;
  const auto width = static_cast<std::int32_t>(widths_[batch.regime]);
  for (std::size_t k = 0; k < batch.wanted; ++k) {
    float* out = batch.outputs[k];
    const std::int32_t size = outputs_[k].size;
    const float* y = at(batch, outputs_[k].from);
    if (regime.path == Path::tile) {
      for (int t = 0; t < regime.tiles; ++t) {
        const int filled = std::clamp(batch.count - t * width, 0, width);
        transposes.tile_to_rows(y + t * width * stride_, filled, size, width,
                                out + static_cast<std::int64_t>(t) * width * size);
      }
    } else {
      for (std::int32_t i = 0; i < batch.count; ++i) {
        transposes.copy_outputs(y + i * stride_, size,
                                out + static_cast<std::int64_t>(i) * size);
      }
    }
  }
}

void Layout::walk(const Layers& layers, const Batch& batch) const {
  const Regime& regime = regimes_[batch.regime];
  for (const Step& step : steps_) {
    if (step.kind != OpKind::linear) {
      run(step, nullptr, batch);
      continue;
    }
    const PackedLayer* layer = layers[static_cast<std::size_t>(step.number)];
    if (step.plain) {
      layer->run(regime, at(batch, step.x.front()), at(batch, step.y), stride_);
    } else {
      run(step, layer, batch);
    }
  }
  copy_outputs(batch);
}

}  // namespace sparseagent
