#include "core/walk.h"

#include <algorithm>
#include <cstring>

namespace sparseagent {

Walk::Walk(const Layout& layout, const Regime& regime, const Layers& layers)
    : batch_{regime.path, regime.columns, regime.vectors, regime.tiles, 0, nullptr},
      width_(regime.path == Path::tile ? regime.width() : 1),
      scratch_(layout.own_floats()),
      outputs_(layout.outputs()),
      transposes_(regime.isa->transposes) {
  batch_.stride = layout.stride() * width_;
  for (Layout::Output& output : outputs_) output.place *= width_;
  for (const Layout::Step& from : layout.steps()) {
    Step step = {};
    step.number = from.number;
    step.size = from.size;
    step.moves = from.moves();
    step.y = from.y * width_;
    step.from = &from;
    if (!from.x.empty()) step.x = from.x.front() * width_;
    if (from.kind == OpKind::observe) {
      step.kind = Step::Kind::input;
    } else if (is_layer(from.kind)) {
      const PackedLayer& layer = *layers[static_cast<std::size_t>(from.number)];
      step.kind = layer.kernel->slides ? Step::Kind::image : Step::Kind::layer;
      step.layer = layer.kernel->run;
      step.data = layer.data.get();
      step.x_more = step.x + from.in * width_;
    } else {
      step.kind = Step::Kind::op;
      step.op = &op_kernel(*regime.isa, from.kind);
      step.data = &from.view;
      step.x_more = from.x.back() * width_;
    }
    steps_.push_back(step);
  }
}

void Walk::move(const std::vector<Layout::Move>& moves, const Call& call) const {
  const int times = batch_.path == Path::tile ? batch_.tiles : call.count;
  for (const Layout::Move& m : moves) {
    for (int i = 0; i < times; ++i) {
      float* base = call.workspace + i * batch_.stride;
      std::memcpy(base + m.to * width_, base + m.from * width_,
                  sizeof(float) * static_cast<std::size_t>(m.size * width_));
    }
  }
}

void Walk::load(const Step& step, const Call& call) const {
  const float* rows = call.rows[step.number];
  float* x = call.workspace + step.y;
  if (batch_.path == Path::one) {
    for (std::int32_t i = 0; i < call.count; ++i) {
      std::memcpy(x + i * batch_.stride, rows + std::int64_t{i} * step.size,
                  sizeof(float) * static_cast<std::size_t>(step.size));
    }
    return;
  }
  for (int t = 0; t < batch_.tiles; ++t) {
    // None in those tiles at the end that are not needed.
    const int filled = std::clamp(call.count - t * width_, 0, width_);
    transposes_->rows_to_tile(rows + std::int64_t{t} * width_ * step.size, filled,
                              step.size, x + t * batch_.stride, width_);
  }
}

// The zeros that a kernel may want are written behind x.
inline void Walk::run_layer(const Step& step, const Call& call) const {
  float* zero = call.workspace + step.x_more;
  if (batch_.path == Path::one) {
    for (int i = 0; i < batch_.columns; ++i) zero[i * batch_.stride] = 0.0f;
  } else {
    for (int t = 0; t < batch_.tiles; ++t) {
      std::memset(zero + t * batch_.stride, 0,
                  sizeof(float) * static_cast<std::size_t>(width_));
    }
  }
  step.layer(step.data, batch_, call.workspace + step.x, call.workspace + step.y);
}

inline void Walk::run_image(const Step& step, const Call& call) const {
  Batch batch = batch_;
  batch.scratch = call.workspace + scratch_;
  step.layer(step.data, batch, call.workspace + step.x, call.workspace + step.y);
}

inline void Walk::run_op(const Step& step, const Call& call) const {
  const OpView& view = *static_cast<const OpView*>(step.data);
  const bool tile = batch_.path == Path::tile;
  for (int i = 0; i < (tile ? batch_.tiles : call.count); ++i) {
    float* base = call.workspace + i * batch_.stride;
    const float* x[2] = {base + step.x, base + step.x_more};
    tile ? step.op->tile(view, x, base + step.y, batch_.vectors)
         : step.op->one(view, x, base + step.y);
  }
}

inline void Walk::run_step(const Step& step, const Call& call) const {
  if (step.moves) move(step.from->gather, call);
  switch (step.kind) {
    case Step::Kind::layer: run_layer(step, call); break;
    case Step::Kind::image: run_image(step, call); break;
    case Step::Kind::op: run_op(step, call); break;
    case Step::Kind::input: load(step, call); break;
  }
  if (step.moves) move(step.from->scatter, call);
}

void Walk::run_step(std::size_t number, const Call& call) const {
  run_step(steps_[number], call);
}

void Walk::copy_outputs(const Call& call) const {
  for (std::size_t k = 0; k < call.wanted; ++k) {
    if (call.outputs[k] == nullptr) continue;
    const std::int32_t size = outputs_[k].size;
    const float* y = call.workspace + outputs_[k].place;
    if (batch_.path == Path::one) {
      for (std::int32_t i = 0; i < call.count; ++i) {
        transposes_->copy_outputs(y + i * batch_.stride, size,
                                  call.outputs[k] + std::int64_t{i} * size);
      }
      continue;
    }
    for (int t = 0; t < batch_.tiles; ++t) {
      const int filled = std::clamp(call.count - t * width_, 0, width_);
      transposes_->tile_to_rows(y + t * batch_.stride, filled, size, width_,
                                call.outputs[k] + std::int64_t{t} * width_ * size);
    }
  }
}

void Walk::run(const Call& call) const {
  for (const Step& step : steps_) run_step(step, call);
  copy_outputs(call);
}

}  // namespace sparseagent
