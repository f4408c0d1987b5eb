// Four lanes in a q register: Advanced SIMD of AArch64.
#pragma once

#include <arm_neon.h>

namespace {

constexpr int kLanes = 4;
constexpr int kTileRows =
    12;  // 12 x 2 accumulators + 2 inputs + weights of 32 registers
constexpr int kTileVectors = 4;        // of the widest tile
constexpr bool kManyRegisters = true;  // 32, not 16

using vec = float32x4_t;
using mask = uint32x4_t;

inline vec load(const float* p) { return vld1q_f32(p); }
inline void store(float* p, vec a) { vst1q_f32(p, a); }
inline vec splat(float a) { return vdupq_n_f32(a); }
inline vec fma(vec a, vec b, vec c) { return vfmaq_f32(c, a, b); }
inline vec add(vec a, vec b) { return vaddq_f32(a, b); }
inline vec sub(vec a, vec b) { return vsubq_f32(a, b); }
inline vec mul(vec a, vec b) { return vmulq_f32(a, b); }
inline vec div(vec a, vec b) { return vdivq_f32(a, b); }
inline vec square_root(vec a) { return vsqrtq_f32(a); }
inline vec magnitude(vec a) { return vabsq_f32(a); }
inline vec copy_sign(vec size, vec sign) {
  return vbslq_f32(vdupq_n_u32(0x80000000u), sign, size);
}
inline mask less(vec a, vec b) { return vcltq_f32(a, b); }
inline mask is_nan(vec a) { return vmvnq_u32(vceqq_f32(a, a)); }
inline vec select(mask m, vec a, vec b) { return vbslq_f32(m, a, b); }
inline bool all(mask m) { return vminvq_u32(m) != 0; }

// NaN passes both. Not by vmax and vmin, for which +0 is more than -0.
inline vec at_least(vec bound, vec a) { return select(less(a, bound), bound, a); }
inline vec at_most(vec bound, vec a) { return select(less(bound, a), bound, a); }

// max(0, a) that lets NaN through, and keeps a zero's sign as the x86 instruction does.
inline vec positive_part(vec a) {
  const vec zero = vdupq_n_f32(0.0f);
  return vbslq_f32(vcltq_f32(a, zero), zero, a);
}

// 2^n for z = 1.5 * 2^23 + n, n in [-126, 127]: the low bits of z are n.
inline vec power_of_two(vec z) {
  const uint32x4_t biased = vaddq_u32(vreinterpretq_u32_f32(z), vdupq_n_u32(127));
  return vreinterpretq_f32_u32(vshlq_n_u32(biased, 23));
}

inline vec either(vec a, vec b) {  // bit by bit
  return vreinterpretq_f32_u32(
      vorrq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b)));
}

// Appends `first` + lane to `list` for every lane of `a` that is not 0, and writes up
// to kLanes numbers behind them; returns how many there are.
inline int append_nonzero(vec a, int first, int* list) {
  float lanes[kLanes];
  store(lanes, a);
  int count = 0;
  for (int i = 0; i < kLanes; ++i) {
    list[count] = first + i;
    count += lanes[i] != 0.0f;
  }
  return count;
}

// The low byte of each lane names one of 8 inputs: four in `a`, then four at `b`.
using ivec = uint32x4_t;
inline ivec load_bytes(const void* p) {
  return vld1q_u32(static_cast<const uint32_t*>(p));
}
inline ivec next_byte(ivec a) { return vshrq_n_u32(a, 8); }
inline vec lookup(vec a, const float* b, ivec place) {
  // A lane's number becomes the numbers of its four bytes.
  const uint32x4_t lane = vandq_u32(place, vdupq_n_u32(7));
  const uint32x4_t bytes = vmlaq_n_u32(vdupq_n_u32(0x03020100u), lane, 0x04040404u);
  const uint8x16x2_t table = {
      {vreinterpretq_u8_f32(a), vreinterpretq_u8_f32(vld1q_f32(b))}};
  return vreinterpretq_f32_u8(vqtbl2q_u8(table, vreinterpretq_u8_u32(bytes)));
}

// Bits: what random numbers are made of.
inline ivec load_bits(const unsigned* p) { return vld1q_u32(p); }
inline void store_bits(unsigned* p, ivec a) { vst1q_u32(p, a); }
inline ivec splat_bits(unsigned a) { return vdupq_n_u32(a); }
inline ivec add_bits(ivec a, ivec b) { return vaddq_u32(a, b); }
inline ivec and_bits(ivec a, ivec b) { return vandq_u32(a, b); }
inline ivec xor_bits(ivec a, ivec b) { return veorq_u32(a, b); }
template <int K>
inline ivec shift_right(ivec a) {
  return vshrq_n_u32(a, K);
}
inline ivec bits_of(vec a) { return vreinterpretq_u32_f32(a); }
inline vec from_bits(ivec bits) { return vreinterpretq_f32_u32(bits); }
// As signed integers, rounded to nearest.
inline vec to_float(ivec a) { return vcvtq_f32_s32(vreinterpretq_s32_u32(a)); }
// Unsigned numbers to be multiplied: a form in which that is quick. The halves of the
// product with the same number in all lanes; a ^ b ^ c.
using wide = ivec;
inline wide widen(ivec a) { return a; }
inline ivec narrow(wide a) { return a; }
inline wide xor_wide(wide a, wide b, unsigned c) {
  return xor_bits(xor_bits(a, b), splat_bits(c));
}
inline void multiply_wide(wide a, unsigned b, wide* high, wide* low) {
  const uint32x2_t factor = vdup_n_u32(b);
  const uint32x4_t left = vreinterpretq_u32_u64(vmull_u32(vget_low_u32(a), factor));
  const uint32x4_t right = vreinterpretq_u32_u64(vmull_u32(vget_high_u32(a), factor));
  *low = vuzp1q_u32(left, right);
  *high = vuzp2q_u32(left, right);
}

// Four weights, each to be spread over all lanes: part of the fused multiply-add.
using quad = float32x4_t;
inline quad load_quad(const float* p) { return vld1q_f32(p); }
template <int K>
inline vec spread(quad q) {
  return vdupq_laneq_f32(q, K);
}

// The first n lanes, 1 <= n <= kLanes: no other memory is touched; the others are 0.
inline vec load_first(const float* p, int n) {
  float lanes[kLanes] = {};
  for (int i = 0; i < n; ++i) lanes[i] = p[i];
  return load(lanes);
}
inline void store_first(float* p, vec a, int n) {
  if (n == kLanes) return store(p, a);
  float32x2_t rest = vget_low_f32(a);
  if (n & 2) {
    vst1_f32(p, rest);
    rest = vget_high_f32(a);
    p += 2;
  }
  if (n & 1) vst1_lane_f32(p, rest, 0);
}

// Any NaN as the one quiet NaN without payload.
inline vec canonical(vec a) {
  return vbslq_f32(vceqq_f32(a, a), a, splat(__builtin_nanf("")));
}

// m[i] lane j becomes m[j] lane i.
inline void transpose(vec (&m)[kLanes]) {
  const float32x4x2_t ab = vtrnq_f32(m[0], m[1]);
  const float32x4x2_t cd = vtrnq_f32(m[2], m[3]);
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    m[i] = vcombine_f32(vget_low_f32(ab.val[i]), vget_low_f32(cd.val[i]));
    m[i + 2] = vcombine_f32(vget_high_f32(ab.val[i]), vget_high_f32(cd.val[i]));
  }
}

}  // namespace
