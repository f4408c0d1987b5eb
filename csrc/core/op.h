// What the ops besides linear are told, as plain data: files compiled for one
// instruction set see nothing else.
#pragma once

#include "core/layer.h"

namespace sparseagent {

enum class NormRule : std::int32_t { layer, rms, l2 };
enum class CombineRule : std::int32_t { add, multiply, lerp };
enum class ReduceRule : std::int32_t { mean, softmax, weighted_sum };

// Non-owning; checked by the reader.
struct OpView {
  std::int32_t in = 0;   // features of each read
  std::int32_t out = 0;  // features of the write
  NormRule norm = NormRule::layer;
  CombineRule combine = CombineRule::add;
  ReduceRule reduce = ReduceRule::mean;
  Activation activation = Activation::identity;
  float alpha = 0;
  const float* scale = nullptr;  // map: [in], or null for 1 (shift is then null too)
  const float* shift = nullptr;  // map: [in]
  const float* weight =
      nullptr;    // combine lerp: [in]; reduce weighted_sum: [in / groups]
  float low = 0;  // map: bounds, where they are set
  float high = 0;
  bool has_low = false;
  bool has_high = false;
  float eps = 0;            // norm
  std::int32_t groups = 1;  // reduce
  bool strided = false;     // reduce: neighbours belong to different groups
  Window window = {};       // pool
};

// One kind of op for one instruction set, scalar included: that one is the contract.
// Like kernels they check, allocate and throw nothing.
struct OpKernel {
  const char* kind;

  // x: one pointer for each read. One observation: x [in], y [out] and room for
  // kWidthPadding more floats, none of which they share.
  void (*one)(const OpView& op, const float* const* x, float* y);

  // `vectors` * lanes observations, feature-major: x [in, width], y [out, width].
  void (*tile)(const OpView& op, const float* const* x, float* y, int vectors);
};

}  // namespace sparseagent
