#include "core/scatter.h"

#include <cstring>

namespace sparseagent {
namespace {

Buffer packed_with(const PackedLayer& packed, LayerView layer, const float* values,
                   const float* bias) {
  Buffer data(packed.bytes);
  layer.values = values;
  layer.bias = bias;
  packed.kernel->pack(layer, packed.path, data.data());
  return data;
}

// A float that says `number` in its bits. Kernels only copy, so any bits will do; those
// of up to 2^28 weights are finite numbers.
float marker(std::int32_t number) {
  float value;
  std::memcpy(&value, &number, sizeof value);
  return value;
}

}  // namespace

Scatter::Scatter(const PackedLayer& packed, const LayerView& layer) {
  const std::int32_t weights = layer.nnz();
  std::vector<float> numbers(static_cast<std::size_t>(weights + layer.out), 0.0f);
  const float* bias = numbers.data() + weights;
  const Buffer blank = packed_with(packed, layer, numbers.data(), bias);
  for (std::int32_t i = 0; i < weights + layer.out; ++i) {
    numbers[static_cast<std::size_t>(i)] = marker(i + 1);
  }
  const Buffer marked = packed_with(packed, layer, numbers.data(), bias);
  const auto* before = static_cast<const std::int32_t*>(blank.data());
  const auto* after = static_cast<const std::int32_t*>(marked.data());
  const auto words = static_cast<std::int32_t>(packed.bytes / sizeof(float));
  for (std::int32_t place = 0; place < words; ++place) {
    if (before[place] == after[place]) continue;
    const std::int32_t from = after[place] - 1;
    from < weights ? weights_.push_back({place, from})
                   : biases_.push_back({place, from - weights});
  }
}

void Scatter::apply(const LayerView& layer, std::int32_t first,
                    PackedLayer* packed) const {
  const float* values =
      layer.values + layer.indptr[static_cast<std::int64_t>(first) * layer.runs];
  const float* bias = layer.bias + first;
  auto* to = static_cast<float*>(packed->data.get());
  for (const Move& move : weights_) to[move.place] = values[move.from];
  for (const Move& move : biases_) to[move.place] = bias[move.from];
}

}  // namespace sparseagent
