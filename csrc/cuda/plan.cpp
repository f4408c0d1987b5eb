#include "cuda/plan.h"

#include <algorithm>
#include <iterator>
#include <stdexcept>
#include <utility>

#include "core/check.h"

namespace sparseagent::cuda {
namespace {

// More blocks than any device runs at a time: those take several tiles each.
constexpr std::int64_t kMostGrid = 1 << 16;

std::vector<LayerView> layers_of(const Program& program) {
  std::vector<LayerView> layers;
  for (const Op& op : program.ops) {
    if (op.kind == OpKind::linear) layers.push_back(op.layer);
  }
  return layers;
}

template <typename T>
Memory uploaded(const std::vector<T>& values) {
  Memory memory(sizeof(T) * values.size());
  if (!values.empty()) {
    copy_in(memory.data(), values.data(), sizeof(T) * values.size(), nullptr);
  }
  return memory;
}

[[noreturn]] void refuse(std::size_t layer, const std::string& what) {
  throw std::invalid_argument("layers[" + std::to_string(layer) + "]: expected " +
                              what);
}

// Whether the layer has all its entries, in plain order.
bool in_order(const LayerView& layer) {
  if (!layer.full() || layer.runs != 1) return false;
  for (std::int32_t k = 0; k < layer.nnz(); ++k) {
    if (layer.indices[k] != k % layer.in) return false;
  }
  return true;
}

bool same_structure(const LayerView& known, const LayerView& given) {
  if (given.out != known.out || given.in != known.in || given.runs != known.runs ||
      given.activation != known.activation || given.alpha != known.alpha) {
    return false;
  }
  if (given.indptr == nullptr) return in_order(known);
  return std::equal(known.indptr, known.indptr + known.chains() + 1, given.indptr) &&
         std::equal(known.indices, known.indices + known.nnz(), given.indices);
}

}  // namespace

Plan::Plan(Program program, int device)
    : program_(std::move(program)),
      number_(device),
      facts_(describe(device)),
      outline_(program_),
      layers_(layers_of(program_)) {
  tilings_ = tilings_for(outline_.net(), facts_);
  if (tilings_.empty()) {
    const Shape& narrowest = kShapes[0];
    throw std::invalid_argument(
        "cuda: expected at most " +
        std::to_string(facts_.shared_bytes / sizeof(float) /
                       static_cast<std::size_t>(narrowest.columns())) +
        " features alive at a time on " + facts_.name + ", got " +
        std::to_string(places()) + "; device=\"cpu\" runs this policy");
  }
  // The narrowest is always among them.
  std::copy_if(tilings_.begin(), tilings_.end(), std::back_inserter(sampling_),
               [](const Tiling& tiling) {
                 return tiling.cluster == 1 && samples(kShapes[tiling.shape]);
               });
  work_.steps = outline_.net().step_count;
  work_.layers = static_cast<int>(layers_.size());
  for (const LayerView& layer : layers_) work_.entries += layer.nnz();
  const Current current(device);
  words_ = uploaded(outline_.words());
  doubles_ = uploaded(outline_.doubles());
  for (const Tiling& tiling : tilings_) {
    const Shape& shape = kShapes[tiling.shape];
    if (packed_.empty() || packed_.back().shape != tiling.shape) {
      const Weights weights = pack(outline_, layers_, shape);
      Packed packed = {tiling.shape, uploaded(weights.pairs), uploaded(weights.rows),
                       outline_.net_at(static_cast<const std::uint32_t*>(words_.data()),
                                       static_cast<const double*>(doubles_.data()))};
      packed.net.pairs = static_cast<const Pair*>(packed.pairs.data());
      packed.net.rows = static_cast<const Row*>(packed.rows.data());
      packed_.push_back(std::move(packed));
      prepare(shape, false, static_cast<std::uint32_t>(facts_.shared_bytes));
    } else if (tiling.cluster == 2) {
      prepare(shape, true, static_cast<std::uint32_t>(facts_.shared_bytes));
    }
  }
  synchronise(nullptr);
}

const Net& Plan::net(int shape) const {
  return std::find_if(packed_.begin(), packed_.end(),
                      [&](const Packed& packed) { return packed.shape == shape; })
      ->net;
}

Tiling Plan::tiling(std::int64_t batch, bool sampling) const {
  return choose(sampling ? sampling_ : tilings_, work_, outline_.net(), facts_, batch);
}

unsigned Plan::blocks(const Tiling& tiling, std::int64_t batch) const {
  const std::int64_t columns = kShapes[tiling.shape].columns();
  const std::int64_t tiles = std::min((batch + columns - 1) / columns, kMostGrid);
  return static_cast<unsigned>(tiles) * tiling.cluster;
}

void Plan::run(const Call& call, void* stream) const {
  if (call.batch == 0) return;
  const Tiling chosen = tiling(call.batch, call.acts == Acts::sample);
  launch(kShapes[chosen.shape], chosen.cluster, blocks(chosen, call.batch),
         net(chosen.shape), call, stream);
}

void Plan::update(std::vector<LayerView> layers, void* stream) {
  if (layers.size() != layers_.size()) {
    throw std::invalid_argument("policy: expected " + std::to_string(layers_.size()) +
                                " layers, got " + std::to_string(layers.size()));
  }
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (!same_structure(layers_[i], layers[i])) {
      refuse(i, "the structure this plan was compiled for; compile again");
    }
    layers[i].indptr = layers_[i].indptr;
    layers[i].indices = layers_[i].indices;
    if (!all_finite(layers[i].values, layers[i].nnz()) ||
        !all_finite(layers[i].bias, layers[i].out)) {
      refuse(i, "finite weights and biases");
    }
  }
  const Current current(number_);
  for (const Packed& packed : packed_) {
    const Weights weights = pack(outline_, layers, kShapes[packed.shape]);
    copy_in(packed.pairs.data(), weights.pairs.data(),
            sizeof(Pair) * weights.pairs.size(), stream);
    copy_in(packed.rows.data(), weights.rows.data(), sizeof(Row) * weights.rows.size(),
            stream);
  }
}

}  // namespace sparseagent::cuda
