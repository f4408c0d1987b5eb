// Sixteen lanes in a zmm register: AVX-512 F, BW, DQ, VL.
#pragma once

#include <immintrin.h>

namespace {

constexpr int kLanes = 16;
constexpr int kTileRows = 14;    // 14 x 2 accumulators + 2 inputs of 32 registers
constexpr int kTileVectors = 2;  // of the widest tile: 4 would leave the first cache
constexpr bool kManyRegisters = true;  // 32, not 16

using vec = __m512;
using mask = __mmask16;

inline vec load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, vec a) { _mm512_storeu_ps(p, a); }
inline vec splat(float a) { return _mm512_set1_ps(a); }
inline vec fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
inline vec add(vec a, vec b) { return _mm512_add_ps(a, b); }
inline vec sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
inline vec mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
inline vec div(vec a, vec b) { return _mm512_div_ps(a, b); }
inline vec square_root(vec a) { return _mm512_sqrt_ps(a); }
inline vec magnitude(vec a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
inline vec copy_sign(vec size, vec sign) {
  const __m512i bit = _mm512_castps_si512(_mm512_set1_ps(-0.0f));
  return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(  // bit ? sign : size
      bit, _mm512_castps_si512(sign), _mm512_castps_si512(size), 0xca));
}
inline mask less(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
inline mask is_nan(vec a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
inline vec select(mask m, vec a, vec b) { return _mm512_mask_blend_ps(m, b, a); }
inline bool all(mask m) { return m == 0xffff; }

// NaN passes both: maxps and minps return their second operand then, and of two zeros.
inline vec at_least(vec bound, vec a) { return _mm512_max_ps(bound, a); }
inline vec at_most(vec bound, vec a) { return _mm512_min_ps(bound, a); }

// max(0, a) that lets NaN through: vmaxps returns its second operand then.
inline vec positive_part(vec a) { return _mm512_max_ps(_mm512_setzero_ps(), a); }

// 2^n for z = 1.5 * 2^23 + n, n in [-126, 127]: the low bits of z are n.
inline vec power_of_two(vec z) {
  const __m512i biased =
      _mm512_add_epi32(_mm512_castps_si512(z), _mm512_set1_epi32(127));
  return _mm512_castsi512_ps(_mm512_slli_epi32(biased, 23));
}

inline vec either(vec a, vec b) { return _mm512_or_ps(a, b); }  // bit by bit

// Appends `first` + lane to `list` for every lane of `a` that is not 0, and writes up
// to kLanes numbers behind them; returns how many there are.
inline int append_nonzero(vec a, int first, int* list) {
  const __m512i lane =
      _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const mask m = _mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_NEQ_UQ);
  // Compressed in a register: straight to memory it takes over a hundred cycles on
  // Zen 4.
  _mm512_storeu_si512(list, _mm512_maskz_compress_epi32(
                                m, _mm512_add_epi32(lane, _mm512_set1_epi32(first))));
  return __builtin_popcount(m);
}

// The low byte of each lane names one of 32 inputs: sixteen in `a`, then sixteen at
// `b`.
using ivec = __m512i;
inline ivec load_bytes(const void* p) { return _mm512_loadu_si512(p); }
inline ivec next_byte(ivec a) { return _mm512_srli_epi32(a, 8); }
inline vec lookup(vec a, const float* b, ivec place) {
  return _mm512_permutex2var_ps(a, place, load(b));
}

// Bits: what random numbers are made of.
inline ivec load_bits(const unsigned* p) { return load_bytes(p); }
inline void store_bits(unsigned* p, ivec a) { _mm512_storeu_si512(p, a); }
inline ivec splat_bits(unsigned a) { return _mm512_set1_epi32(static_cast<int>(a)); }
inline ivec add_bits(ivec a, ivec b) { return _mm512_add_epi32(a, b); }
inline ivec and_bits(ivec a, ivec b) { return _mm512_and_si512(a, b); }
inline ivec xor_bits(ivec a, ivec b) { return _mm512_xor_si512(a, b); }
template <int K>
inline ivec shift_right(ivec a) {
  return _mm512_srli_epi32(a, K);
}
inline ivec bits_of(vec a) { return _mm512_castps_si512(a); }
inline vec from_bits(ivec bits) { return _mm512_castsi512_ps(bits); }
// As signed integers, rounded to nearest.
inline vec to_float(ivec a) { return _mm512_cvtepi32_ps(a); }
// Unsigned numbers to be multiplied: even and odd lanes apart, each in the lower half
// of 64 bits, with whatever above it. The halves of the product with the same number in
// all lanes; a ^ b ^ c.
struct wide {
  ivec even;
  ivec odd;
};
inline wide widen(ivec a) { return {a, _mm512_srli_epi64(a, 32)}; }
inline ivec narrow(wide a) {
  return _mm512_mask_blend_epi32(0xaaaa, a.even, _mm512_slli_epi64(a.odd, 32));
}
inline wide xor_wide(wide a, wide b, unsigned c) {
  const ivec all = splat_bits(c);
  return {xor_bits(xor_bits(a.even, b.even), all),
          xor_bits(xor_bits(a.odd, b.odd), all)};
}
inline void multiply_wide(wide a, unsigned b, wide* high, wide* low) {
  const ivec factor = splat_bits(b);
  *low = {_mm512_mul_epu32(a.even, factor), _mm512_mul_epu32(a.odd, factor)};
  *high = {_mm512_srli_epi64(low->even, 32), _mm512_srli_epi64(low->odd, 32)};
}

// Four weights, each to be spread over all lanes: one load and four in-lane permutes
// are cheaper than four broadcasts from memory, which would compete with the loads of
// the inputs. The empty asm keeps compilers from turning them back.
using quad = __m128;
inline quad load_quad(const float* p) {
  quad q = _mm_loadu_ps(p);
  __asm__("" : "+v"(q));
  return q;
}
template <int K>
inline vec spread(quad q) {
  return _mm512_permute_ps(_mm512_broadcast_f32x4(q), K * 0x55);
}

// The first n lanes, 1 <= n <= kLanes: no other memory is touched; the others are 0.
inline vec load_first(const float* p, int n) {
  return _mm512_maskz_loadu_ps(static_cast<mask>(0xffff >> (kLanes - n)), p);
}
inline void store_first(float* p, vec a, int n) {
  _mm512_mask_storeu_ps(p, static_cast<mask>(0xffff >> (kLanes - n)), a);
}

// Any NaN as the one quiet NaN without payload.
inline vec canonical(vec a) { return select(is_nan(a), splat(__builtin_nanf("")), a); }

// m[i] lane j becomes m[j] lane i: 4 x 4 blocks within the quarters of four vectors,
// then the quarters among the fours.
inline void transpose(vec (&m)[kLanes]) {
#pragma GCC unroll 4
  for (int i = 0; i < kLanes; i += 4) {
    const vec ab_low = _mm512_unpacklo_ps(m[i], m[i + 1]);
    const vec ab_high = _mm512_unpackhi_ps(m[i], m[i + 1]);
    const vec cd_low = _mm512_unpacklo_ps(m[i + 2], m[i + 3]);
    const vec cd_high = _mm512_unpackhi_ps(m[i + 2], m[i + 3]);
    m[i] = _mm512_shuffle_ps(ab_low, cd_low, 0x44);
    m[i + 1] = _mm512_shuffle_ps(ab_low, cd_low, 0xee);
    m[i + 2] = _mm512_shuffle_ps(ab_high, cd_high, 0x44);
    m[i + 3] = _mm512_shuffle_ps(ab_high, cd_high, 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const vec even_low = _mm512_shuffle_f32x4(m[i], m[i + 4], 0x88);
    const vec odd_low = _mm512_shuffle_f32x4(m[i], m[i + 4], 0xdd);
    const vec even_high = _mm512_shuffle_f32x4(m[i + 8], m[i + 12], 0x88);
    const vec odd_high = _mm512_shuffle_f32x4(m[i + 8], m[i + 12], 0xdd);
    m[i] = _mm512_shuffle_f32x4(even_low, even_high, 0x88);
    m[i + 4] = _mm512_shuffle_f32x4(odd_low, odd_high, 0x88);
    m[i + 8] = _mm512_shuffle_f32x4(even_low, even_high, 0xdd);
    m[i + 12] = _mm512_shuffle_f32x4(odd_low, odd_high, 0xdd);
  }
}

}  // namespace
