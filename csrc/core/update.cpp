// New weights and biases in a plan that is there already.
#include <algorithm>
#include <stdexcept>
#include <string_view>

#include "core/check.h"
#include "core/plan.h"
#include "core/split.h"
#include "policy/sha256.h"

namespace sparseagent {
namespace {

[[noreturn]] void refuse(std::size_t layer, const std::string& what) {
  throw std::invalid_argument("layers[" + std::to_string(layer) + "]: " + what);
}

std::string_view bytes(const std::int32_t* numbers, std::int64_t count) {
  return {reinterpret_cast<const char*>(numbers),
          sizeof(std::int32_t) * static_cast<std::size_t>(count)};
}

std::string digest_of(const LayerView& layer) {
  return sha256(bytes(layer.indptr, layer.chains() + 1),
                bytes(layer.indices, layer.nnz()), {});
}

// Whether every column of every row is there, in plain order.
bool in_order(const LayerView& layer) {
  if (!layer.full() || layer.runs != 1) return false;
  for (std::int32_t row = 0; row <= layer.out; ++row) {
    if (layer.indptr[row] != row * layer.in) return false;
  }
  for (std::int32_t k = 0; k < layer.nnz(); ++k) {
    if (layer.indices[k] != k % layer.in) return false;
  }
  return true;
}

}  // namespace

Plan::Structure::Structure(const LayerView& layer)
    : out(layer.out),
      in(layer.in),
      runs(layer.runs),
      activation(layer.activation),
      alpha(layer.alpha),
      window(layer.window),
      dense(in_order(layer)),
      digest(dense ? "" : digest_of(layer)) {}

bool Plan::Structure::fits(const LayerView& layer) const {
  if (layer.out != out || layer.in != in || layer.runs != runs ||
      layer.activation != activation || layer.alpha != alpha) {
    return false;
  }
  if (layer.indptr == nullptr) return dense;
  if (indptr.empty()) return dense ? in_order(layer) : digest_of(layer) == digest;
  // indptr first: it says how many indices there are.
  return std::equal(indptr.begin(), indptr.end(), layer.indptr) &&
         std::equal(indices.begin(), indices.end(), layer.indices);
}

void Plan::Structure::keep(const LayerView& layer) {
  if (!indptr.empty()) return;
  if (layer.indptr != nullptr) {
    indptr.assign(layer.indptr, layer.indptr + layer.chains() + 1);
    indices.assign(layer.indices, layer.indices + layer.nnz());
    return;
  }
  for (std::int32_t row = 0; row <= out; ++row) indptr.push_back(row * in);
  for (std::int32_t k = 0; k < out * in; ++k) indices.push_back(k % in);
}

void Plan::find_places(const std::vector<LayerView>& layers) {
  std::vector<Refresh> found;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const Schedule::Layer& layer = schedule_->layers()[i];
    std::vector<RowPart> all = layer.parts;
    std::vector<std::shared_ptr<void>> known;
    for (const auto& packed : layer.packed) {
      if (std::find(known.begin(), known.end(), packed->data) != known.end()) continue;
      known.push_back(packed->data);
      all.push_back({packed, 0, layers[i].out});
    }
    for (const RowPart& part : all) {
      const RowSlice slice(layers[i], part.first, part.rows);
      found.push_back(
          {i, part.first, part.rows, part.packed, Scatter(*part.packed, slice.view())});
    }
  }
  refreshes_ = std::move(found);  // all of them, or after an error none
}

// What training changes of a head: none, deviations, or the share of exploration.
void Plan::check_head(const float* numbers, std::int64_t count) const {
  const Head& head = program_.head;
  std::int64_t wanted = head.kind == HeadKind::epsilon_greedy ? 1 : 0;
  if (head.log_std != nullptr) wanted = head.size;
  if (head.std != nullptr) wanted = std::int64_t{head.latent} * head.size;
  const bool log = head.log_std != nullptr;
  const float most = head.std != nullptr ? 1e18f : 1.0f;
  bool good = count == wanted && all_finite(numbers, count);
  for (std::int64_t i = 0; good && !log && i < count; ++i) {
    good = numbers[i] >= 0 && numbers[i] <= most;
  }
  if (!good) {
    throw std::invalid_argument("policy: expected a head with " +
                                std::to_string(wanted) + " numbers in range, got " +
                                std::to_string(count));
  }
}

void Plan::update_head(const float* numbers, std::int64_t count) {
  Head& head = program_.head;
  if (head.kind == HeadKind::epsilon_greedy) head.epsilon = numbers[0];
  if (head.log_std == nullptr && head.std == nullptr) return;
  learnt_.assign(numbers, numbers + count);
  learnt_.resize(learnt_.size() + kWidthPadding);
  if (head.log_std != nullptr) {
    head.log_std = learnt_.data();
    return;
  }
  variance_.resize(learnt_.size());
  for (std::size_t i = 0; i < learnt_.size(); ++i) {
    variance_[i] = learnt_[i] * learnt_[i];
  }
  head.std = learnt_.data();
  head.variance = variance_.data();
}

void Plan::update(std::vector<LayerView> layers, const float* numbers,
                  std::int64_t count) {
  check_head(numbers, count);
  if (layers.size() != structure_.size()) {
    throw std::invalid_argument("policy: expected " +
                                std::to_string(structure_.size()) + " layers, got " +
                                std::to_string(layers.size()));
  }
  for (std::size_t i = 0; i < layers.size(); ++i) {
    Structure& known = structure_[i];
    if (!known.fits(layers[i])) {
      refuse(i, "expected the structure this plan was compiled for; compile again");
    }
    known.keep(layers[i]);
    layers[i].indptr = known.indptr.data();
    layers[i].indices = known.indices.data();
    layers[i].window = known.window;
    if (!all_finite(layers[i].values, layers[i].nnz()) ||
        !all_finite(layers[i].bias, layers[i].out)) {
      refuse(i, "expected finite weights and biases");
    }
  }
  if (refreshes_.empty()) find_places(layers);
  for (const Refresh& refresh : refreshes_) {
    refresh.scatter.apply(layers[refresh.layer], refresh.first, refresh.packed.get());
  }
  update_head(numbers, count);
}

}  // namespace sparseagent
