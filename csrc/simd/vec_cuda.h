// One lane of a CUDA device: the operations of vec_scalar.h by instructions that round
// to nearest and that no flag contracts. A type of its own, as CUDA declares
// ::exp(float), ::fma(float, float, float) and so on for everyone.
#pragma once

#include "cuda/device.h"

#define SPARSEAGENT_FUNCTION __device__ __forceinline__

namespace {

constexpr int kLanes = 1;

struct vec {
  float v;
};
using mask = bool;

SPARSEAGENT_FUNCTION vec load(const float* p) { return {*p}; }
SPARSEAGENT_FUNCTION void store(float* p, vec a) { *p = a.v; }
SPARSEAGENT_FUNCTION vec splat(float a) { return {a}; }
SPARSEAGENT_FUNCTION vec fma(vec a, vec b, vec c) { return {__fmaf_rn(a.v, b.v, c.v)}; }
SPARSEAGENT_FUNCTION vec add(vec a, vec b) { return {__fadd_rn(a.v, b.v)}; }
SPARSEAGENT_FUNCTION vec sub(vec a, vec b) { return {__fsub_rn(a.v, b.v)}; }
SPARSEAGENT_FUNCTION vec mul(vec a, vec b) { return {__fmul_rn(a.v, b.v)}; }
SPARSEAGENT_FUNCTION vec div(vec a, vec b) { return {__fdiv_rn(a.v, b.v)}; }
SPARSEAGENT_FUNCTION vec square_root(vec a) { return {__fsqrt_rn(a.v)}; }
SPARSEAGENT_FUNCTION vec magnitude(vec a) {
  return {__uint_as_float(__float_as_uint(a.v) & 0x7fffffffu)};
}
SPARSEAGENT_FUNCTION vec copy_sign(vec size, vec sign) {
  return {__uint_as_float((__float_as_uint(size.v) & 0x7fffffffu) |
                          (__float_as_uint(sign.v) & 0x80000000u))};
}
SPARSEAGENT_FUNCTION mask less(vec a, vec b) { return a.v < b.v; }
SPARSEAGENT_FUNCTION bool all(mask m) { return m; }
SPARSEAGENT_FUNCTION vec select(mask m, vec a, vec b) { return m ? a : b; }

// NaN passes both.
SPARSEAGENT_FUNCTION vec at_least(vec bound, vec a) {
  return {a.v < bound.v ? bound.v : a.v};
}
SPARSEAGENT_FUNCTION vec at_most(vec bound, vec a) {
  return {bound.v < a.v ? bound.v : a.v};
}

// max(0, a) that lets NaN through.
SPARSEAGENT_FUNCTION vec positive_part(vec a) { return {0.0f > a.v ? 0.0f : a.v}; }

// 2^n for z = 1.5 * 2^23 + n, n in [-126, 127]: the low bits of z are n.
SPARSEAGENT_FUNCTION vec power_of_two(vec z) {
  return {__uint_as_float((__float_as_uint(z.v) + 127u) << 23)};
}

// Bits: what random numbers are made of.
using ivec = std::uint32_t;
SPARSEAGENT_FUNCTION ivec load_bits(const std::uint32_t* p) { return *p; }
SPARSEAGENT_FUNCTION ivec splat_bits(std::uint32_t a) { return a; }
SPARSEAGENT_FUNCTION ivec add_bits(ivec a, ivec b) { return a + b; }
SPARSEAGENT_FUNCTION ivec and_bits(ivec a, ivec b) { return a & b; }
SPARSEAGENT_FUNCTION ivec xor_bits(ivec a, ivec b) { return a ^ b; }
template <int K>
SPARSEAGENT_FUNCTION ivec shift_right(ivec a) {
  return a >> K;
}
SPARSEAGENT_FUNCTION ivec bits_of(vec a) { return __float_as_uint(a.v); }
SPARSEAGENT_FUNCTION vec from_bits(ivec bits) { return {__uint_as_float(bits)}; }
// As signed integers, rounded to nearest.
SPARSEAGENT_FUNCTION vec to_float(ivec a) {
  return {__int2float_rn(static_cast<int>(a))};
}
// Unsigned numbers to be multiplied; the halves of the product; a ^ b ^ c.
using wide = ivec;
SPARSEAGENT_FUNCTION wide widen(ivec a) { return a; }
SPARSEAGENT_FUNCTION ivec narrow(wide a) { return a; }
SPARSEAGENT_FUNCTION wide xor_wide(wide a, wide b, std::uint32_t c) {
  return a ^ b ^ c;
}
SPARSEAGENT_FUNCTION void multiply_wide(wide a, std::uint32_t b, wide* high,
                                        wide* low) {
  *high = __umulhi(a, b);
  *low = a * b;
}

// Any NaN as the one quiet NaN without payload.
SPARSEAGENT_FUNCTION vec canonical(vec a) {
  return {a.v == a.v ? a.v : __uint_as_float(0x7fc00000u)};
}

}  // namespace
