// What a kernel is given to pack: one layer, row by row, in its summation order.
#pragma once

#include <cstdint>

#include "core/window.h"

namespace sparseagent {

enum class Activation : std::int32_t {
#define SPARSEAGENT_ACTIVATION(name, alpha) name,
#include "core/activations.def"
#undef SPARSEAGENT_ACTIVATION
};

// The same as text, with the default parameter, in the order of the enum.
struct ActivationInfo {
  const char* name;
  double alpha;
};

constexpr ActivationInfo kActivations[] = {
#define SPARSEAGENT_ACTIVATION(name, alpha) {#name, alpha},
#include "core/activations.def"
#undef SPARSEAGENT_ACTIVATION
};

constexpr int kActivationCount = sizeof kActivations / sizeof kActivations[0];

// What memory safety and the Python side agree upon.
constexpr std::int32_t kMaxWidth = 1 << 20;
constexpr std::int32_t kMaxRuns = 64;
constexpr std::int64_t kMaxNonzeros = std::int64_t{1} << 28;

// The arithmetic contract (one sum): every row is `runs` chains of fused multiply-adds
// over its stored entries, in stored order; the first chain starts from the bias, the
// others from 0; a pairwise tree joins them; a sum of -0 counts as +0; the activation
// follows.
//
//   entries of run s of row r:  k in [indptr[r * runs + s], indptr[r * runs + s + 1])
//   acc = fma(values[k], x[indices[k]], acc)
//
// A dense layer is the same with every entry present. The rows of a convolution slide
// over an image: x[k] is then the tap of that number, and a tap outside the image is
// absent; there is one run. Non-owning; validated by the reader.
struct LayerView {
  std::int32_t out;
  std::int32_t in;
  std::int32_t runs;
  const std::int32_t* indptr;   // [out * runs + 1]
  const std::int32_t* indices;  // [nnz]
  const float* values;          // [nnz]
  const float* bias;            // [out]
  Activation activation;
  float alpha;
  const Window* window = nullptr;  // of a convolution

  std::int32_t nnz() const { return indptr[static_cast<std::int64_t>(out) * runs]; }
  std::int32_t chains() const { return out * runs; }
  bool full() const { return nnz() == static_cast<std::int64_t>(out) * in; }

  // Features that it reads, and sums that it writes.
  std::int32_t features() const { return window != nullptr ? window->in() : in; }
  std::int32_t sums() const {
    return window != nullptr ? out * window->pixels() : chains();
  }
};

}  // namespace sparseagent
