// New weights and biases in a plan that is there already.
#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "core/plan.h"
#include "core/split.h"

namespace sparseagent {
namespace {

// Without an early end, so that the compiler can look at several numbers at a time.
bool all_finite(const float* values, std::int64_t count) {
  bool finite = true;
  for (std::int64_t i = 0; i < count; ++i) finite &= std::fabs(values[i]) < INFINITY;
  return finite;
}

}  // namespace

void refuse_layer(std::size_t layer, const std::string& what) {
  throw std::invalid_argument("layers[" + std::to_string(layer) + "]: " + what);
}

void check_numbers(const LayerView& layer, std::size_t number) {
  if (!all_finite(layer.values, layer.nnz()) || !all_finite(layer.bias, layer.out)) {
    refuse_layer(number, "expected finite weights and biases");
  }
  if (!std::isfinite(layer.alpha)) {
    std::ostringstream text;
    text << "alpha: expected a finite number, got " << layer.alpha;
    refuse_layer(number, text.str());
  }
}

Plan::Structure::Structure(const LayerView& layer)
    : out(layer.out),
      in(layer.in),
      runs(layer.runs),
      activation(layer.activation),
      alpha(layer.alpha),
      dense(layer.full() && layer.runs == 1),
      indptr(layer.indptr, layer.indptr + layer.chains() + 1),
      indices(layer.indices, layer.indices + layer.nnz()) {
  for (std::size_t k = 0; dense && k < indices.size(); ++k) {
    dense = indices[k] == static_cast<std::int32_t>(k) % in;
  }
}

bool Plan::Structure::fits(const LayerView& layer) const {
  if (layer.out != out || layer.in != in || layer.runs != runs ||
      layer.activation != activation || layer.alpha != alpha) {
    return false;
  }
  if (layer.indptr == nullptr) return dense;
  // indptr first: it says how many indices there are.
  return std::equal(indptr.begin(), indptr.end(), layer.indptr) &&
         std::equal(indices.begin(), indices.end(), layer.indices);
}

void Plan::find_places(const std::vector<LayerView>& layers) {
  const auto& steps = network_->steps();
  std::vector<Refresh> found;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    std::vector<RowPart> all = steps[i].parts;
    std::vector<std::shared_ptr<void>> known;
    for (const auto& packed : steps[i].packed) {
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

void Plan::update(std::vector<LayerView> layers) {
  if (layers.size() != structure_.size()) {
    throw std::invalid_argument("policy: expected " +
                                std::to_string(structure_.size()) + " layers, got " +
                                std::to_string(layers.size()));
  }
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const Structure& known = structure_[i];
    if (!known.fits(layers[i])) {
      refuse_layer(i,
                   "expected the structure this plan was compiled for; compile again");
    }
    layers[i].indptr = known.indptr.data();
    layers[i].indices = known.indices.data();
    check_numbers(layers[i], i);
  }
  if (refreshes_.empty()) find_places(layers);
  for (const Refresh& refresh : refreshes_) {
    refresh.scatter.apply(layers[refresh.layer], refresh.first, refresh.packed.get());
  }
}

}  // namespace sparseagent
