// The observation step: rows as the environment hands them out to columns of the tile.
// The same as core/observation.cpp, number by number.
#pragma once

#include "cuda/block.h"

namespace sparseagent::cuda {

// Number i of an array, as the CPU casts it. The switch is the same for all threads.
template <typename Real>
__device__ __forceinline__ Real number(const void* data, DType dtype, std::int64_t i) {
  switch (dtype) {
    case DType::float64: return static_cast<Real>(static_cast<const double*>(data)[i]);
    case DType::uint8:
      return static_cast<Real>(static_cast<const std::uint8_t*>(data)[i]);
    case DType::int8:
      return static_cast<Real>(static_cast<const std::int8_t*>(data)[i]);
    case DType::int32:
      return static_cast<Real>(static_cast<const std::int32_t*>(data)[i]);
    case DType::int64:
      return static_cast<Real>(static_cast<const std::int64_t*>(data)[i]);
    case DType::boolean:
      return static_cast<const std::uint8_t*>(data)[i] != 0 ? Real{1} : Real{0};
    case DType::float32: break;
  }
  return static_cast<Real>(static_cast<const float*>(data)[i]);
}

__device__ __forceinline__ float minus(float a, float b) { return __fsub_rn(a, b); }
__device__ __forceinline__ double minus(double a, double b) { return __dsub_rn(a, b); }
__device__ __forceinline__ float over(float a, float b) { return __fdiv_rn(a, b); }
__device__ __forceinline__ double over(double a, double b) { return __ddiv_rn(a, b); }

// (x - shift) / scale within bounds, in double or in float.
template <typename Real>
__device__ __forceinline__ float normalised(const Step& step, const double* facts,
                                            int f, Real value) {
  const auto low = static_cast<Real>(facts[0]);
  const auto high = static_cast<Real>(facts[1]);
  const double* shift = facts + 2;
  const double* scale = shift + (step.bits & kShifts ? step.out : 0);
  if (step.bits & kShifts) value = minus(value, static_cast<Real>(shift[f]));
  if (step.bits & kScales) {
    value = over(value, static_cast<Real>(scale[step.bits & kOneScale ? 0 : f]));
  }
  value = value < low ? low : value;  // a NaN passes both comparisons
  value = value > high ? high : value;
  return static_cast<float>(value);
}

// 1 where number `named` names this category, NaN where it names none.
__device__ __forceinline__ float category(const std::uint32_t* fact, double named) {
  const auto count = static_cast<double>(fact[2]);
  if (!(named >= 0 && named < count)) return __uint_as_float(0x7fc00000u);
  const auto whole = static_cast<std::uint32_t>(named);
  if (static_cast<double>(whole) != named) return __uint_as_float(0x7fc00000u);
  return whole == fact[1] ? 1.0f : 0.0f;
}

// Feature f of one row of numbers, which begins at `first`.
__device__ __forceinline__ float feature(const Net& net, const Step& step,
                                         const void* data, DType dtype,
                                         std::int64_t first, int f) {
  if (step.bits & kOneHot) {
    const std::uint32_t* fact = net.words + step.words + 3 * f;
    return category(fact, number<double>(data, dtype, first + fact[0]));
  }
  const std::int64_t at = first + (step.bits & kSome ? net.words[step.z + f] : f);
  if (step.bits & kCast) return number<float>(data, dtype, at);
  const double* facts = net.doubles + step.words;
  if (step.bits & kSingle) {
    return normalised<float>(step, facts, f, number<float>(data, dtype, at));
  }
  return normalised<double>(step, facts, f, number<double>(data, dtype, at));
}

// A warp takes a column, its lanes neighbouring features: whole sectors are read.
// Columns behind the batch get zeros.
template <int V, int G>
__device__ __forceinline__ void observe(const Net& net, const Call& call,
                                        const Step& step, const Block<V, G>& block,
                                        std::int64_t first, int count) {
  const void* data = call.inputs[step.rule];
  const DType dtype = call.dtypes[step.rule];
  const int warps = static_cast<int>(blockDim.x) / 32;
  for (int c = static_cast<int>(threadIdx.x) / 32; c < block.kColumns; c += warps) {
    const std::int64_t row = (first + c) * step.in;
    for (int f = static_cast<int>(threadIdx.x) % 32; f < step.out; f += 32) {
      float z = 0.0f;
      if (c < count) z = feature(net, step, data, dtype, row, f);
      block.at(step.y + static_cast<std::uint32_t>(f), c) = z;
    }
  }
}

}  // namespace sparseagent::cuda
