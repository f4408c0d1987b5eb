#include "core/plan.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace sparseagent {
namespace {

[[noreturn]] void refuse(std::size_t layer, const std::string& what) {
  throw std::invalid_argument("layers[" + std::to_string(layer) + "]: " + what);
}

bool all_finite(const float* values, std::int64_t count) {
  return std::all_of(values, values + count, [](float v) { return std::isfinite(v); });
}

void check_layer(const LayerView& layer, std::size_t number) {
  constexpr std::int32_t kMaxWidth = 1 << 20;
  if (layer.out < 1 || layer.in < 1 || layer.out > kMaxWidth || layer.in > kMaxWidth) {
    refuse(number, "expected widths in [1, 2^20]");
  }
  if (layer.runs < 1 || layer.runs > 64)
    refuse(number, "expected 1 to 64 runs per row");
  const std::int64_t chains = static_cast<std::int64_t>(layer.out) * layer.runs;
  if (layer.indptr[0] != 0) refuse(number, "expected indptr to start at 0");
  for (std::int64_t i = 0; i < chains; ++i) {
    if (layer.indptr[i + 1] < layer.indptr[i])
      refuse(number, "expected indptr never to fall");
  }
  const std::int64_t nnz = layer.indptr[chains];
  for (std::int64_t k = 0; k < nnz; ++k) {
    if (layer.indices[k] < 0 || layer.indices[k] >= layer.in) {
      refuse(number, "expected indices in [0, " + std::to_string(layer.in) + "), got " +
                         std::to_string(layer.indices[k]));
    }
  }
  if (!all_finite(layer.values, nnz) || !all_finite(layer.bias, layer.out)) {
    refuse(number, "expected finite weights and biases");
  }
}

std::vector<std::int32_t> structure_of(const LayerView& layer) {
  std::vector<std::int32_t> structure = {layer.out, layer.in, layer.runs};
  structure.insert(structure.end(), layer.indptr, layer.indptr + layer.chains() + 1);
  structure.insert(structure.end(), layer.indices, layer.indices + layer.nnz());
  return structure;
}

// Scratch memory of one thread, shared by all plans: grows to what the largest of them
// needs.
float* thread_workspace(std::size_t floats) {
  thread_local Buffer workspace;
  const std::size_t bytes = sizeof(float) * floats;
  if (workspace.bytes() < bytes) workspace = Buffer(bytes);
  return workspace.floats();
}

}  // namespace

void check_layers(const std::vector<LayerView>& layers, std::int32_t observation_size) {
  if (layers.empty()) throw std::invalid_argument("layers: expected at least one");
  std::int32_t width = observation_size;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    check_layer(layers[i], i);
    if (layers[i].in != width) {
      refuse(i, "expected " + std::to_string(width) + " inputs, got " +
                    std::to_string(layers[i].in));
    }
    width = layers[i].out;
  }
}

Plan::Plan(const std::vector<LayerView>& layers, ObservationStep observation, Head head,
           const Options& options)
    : isa_(choose_isa(options.isa.c_str())),
      observation_(std::move(observation)),
      head_(std::move(head)),
      pool_(options.threads) {
  if (options.threads < 1 || options.threads > 1024) {
    throw std::invalid_argument("threads: expected 1 to 1024, got " +
                                std::to_string(options.threads));
  }
  if (!(options.tune_ms >= 0) || std::isinf(options.tune_ms)) {
    throw std::invalid_argument("tune: expected a time in ms, 0 or more");
  }
  check_layers(layers, observation_.size);
  const auto in = static_cast<std::size_t>(layers.front().in);
  const auto out = static_cast<std::size_t>(layers.back().out);
  for (const auto* part : {&observation_.shift, &observation_.scale}) {
    if (!part->empty() && part->size() != in) {
      throw std::invalid_argument("observation: expected one number per input");
    }
  }
  const bool bounded =
      head_.kind == Head::Kind::clip || head_.kind == Head::Kind::unscale;
  if (bounded && (head_.low.size() != out || head_.high.size() != out)) {
    throw std::invalid_argument("head: expected one bound per output");
  }
  network_ = build_network(isa_, layers, options.format, options.tune_ms, &choices_);
  for (const LayerView& layer : layers) structure_.push_back(structure_of(layer));
}

double Plan::estimate_ns(std::int64_t batch) const {
  double per_observation = network_->cuts().front().ns;
  for (const Cut& cut : network_->cuts())
    per_observation = std::min(per_observation, cut.ns / cut.columns);
  return static_cast<double>(batch) * per_observation;
}

void Plan::forward_range(Observations observations, std::int64_t first,
                         std::int64_t count, float* outputs) const {
  const std::int64_t in = input_size();
  const std::int64_t out = output_size();
  const std::size_t walking = network_->workspace_floats();
  const bool direct = observations.dtype == DType::float32 && observation_.identity();
  if (direct) {
    const float* rows = static_cast<const float*>(observations.data) + first * in;
    network_->forward(rows, count, outputs + first * out, thread_workspace(walking));
    return;
  }
  // Rows are prepared a full tile at a time, so that they are still in the cache when
  // they are used.
  const std::int64_t step = network_->widest_cut();
  float* workspace = thread_workspace(walking + static_cast<std::size_t>(step * in));
  float* rows = workspace + walking;
  for (std::int64_t done = 0; done < count; done += step) {
    const std::int64_t now = std::min(step, count - done);
    observation_.apply(observations, first + done, now, rows);
    network_->forward(rows, now, outputs + (first + done) * out, workspace);
  }
}

void Plan::forward(Observations observations, std::int64_t batch,
                   float* outputs) const {
  const std::int64_t tile = network_->widest_cut();
  const std::int64_t tiles = (batch + tile - 1) / tile;
  if (threads() == 1 || tiles < 2)
    return forward_range(observations, 0, batch, outputs);
  struct Split {
    const Plan* plan;
    Observations observations;
    std::int64_t batch;
    std::int64_t share;  // observations per thread, whole tiles
    float* outputs;
  };
  const Split split = {this, observations, batch,
                       (tiles + threads() - 1) / threads() * tile, outputs};
  pool_.run(
      [](const void* context, int part) {
        const Split& s = *static_cast<const Split*>(context);
        const std::int64_t first = std::min(s.batch, part * s.share);
        const std::int64_t count = std::min(s.share, s.batch - first);
        if (count > 0) s.plan->forward_range(s.observations, first, count, s.outputs);
      },
      &split);
}

void Plan::update(const std::vector<LayerView>& layers) {
  check_layers(layers, observation_.size);
  if (layers.size() != structure_.size()) {
    throw std::invalid_argument("policy: expected " +
                                std::to_string(structure_.size()) + " layers, got " +
                                std::to_string(layers.size()));
  }
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (structure_of(layers[i]) != structure_[i]) {
      refuse(i, "expected the structure this plan was compiled for; compile again");
    }
  }
  for (std::size_t i = 0; i < layers.size(); ++i) {
    Network::Step& step = network_->steps()[i];
    for (PackedLayer* packed : {&step.one, &step.narrow, &step.tile}) {
      if (!packed->empty()) packed->refresh(layers[i]);
    }
  }
}

}  // namespace sparseagent
