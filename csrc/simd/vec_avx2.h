// Eight lanes in a ymm register: AVX2 and FMA.
#pragma once

#include <immintrin.h>

namespace {

constexpr int kLanes = 8;
constexpr int kTileRows =
    6;  // 6 x 2 accumulators + 2 inputs + 1 weight of 16 registers
constexpr int kTileVectors = 4;         // of the widest tile
constexpr bool kManyRegisters = false;  // 32, not 16

using vec = __m256;
using mask = __m256;

inline vec load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, vec a) { _mm256_storeu_ps(p, a); }
inline vec splat(float a) { return _mm256_set1_ps(a); }
inline vec fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
inline vec add(vec a, vec b) { return _mm256_add_ps(a, b); }
inline vec sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
inline vec mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
inline vec div(vec a, vec b) { return _mm256_div_ps(a, b); }
inline vec square_root(vec a) { return _mm256_sqrt_ps(a); }
inline vec magnitude(vec a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
inline vec copy_sign(vec size, vec sign) {
  const vec bit = _mm256_set1_ps(-0.0f);
  return _mm256_or_ps(_mm256_andnot_ps(bit, size), _mm256_and_ps(bit, sign));
}
inline mask less(vec a, vec b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
inline mask is_nan(vec a) { return _mm256_cmp_ps(a, a, _CMP_UNORD_Q); }
inline vec select(mask m, vec a, vec b) { return _mm256_blendv_ps(b, a, m); }
inline bool all(mask m) { return _mm256_movemask_ps(m) == 0xff; }

// NaN passes both: maxps and minps return their second operand then, and of two zeros.
inline vec at_least(vec bound, vec a) { return _mm256_max_ps(bound, a); }
inline vec at_most(vec bound, vec a) { return _mm256_min_ps(bound, a); }

// max(0, a) that lets NaN through: maxps returns its second operand then.
inline vec positive_part(vec a) { return _mm256_max_ps(_mm256_setzero_ps(), a); }

// 2^n for z = 1.5 * 2^23 + n, n in [-126, 127]: the low bits of z are n.
inline vec power_of_two(vec z) {
  const __m256i biased =
      _mm256_add_epi32(_mm256_castps_si256(z), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}

inline vec either(vec a, vec b) { return _mm256_or_ps(a, b); }  // bit by bit

// The numbers of the bits that are set in 0, 1, .. 255, three bits each, lowest first.
struct SetBits {
  int of[256] = {};
  constexpr SetBits() {
    for (int set = 0; set < 256; ++set) {
      int place = 0;
      for (int bit = 0; bit < 8; ++bit) {
        if (set >> bit & 1) of[set] |= bit << 3 * place++;
      }
    }
  }
};
constexpr SetBits kSetBits;

// Appends `first` + lane to `list` for every lane of `a` that is not 0, and writes up
// to kLanes numbers behind them; returns how many there are.
inline int append_nonzero(vec a, int first, int* list) {
  const int set =
      _mm256_movemask_ps(_mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_NEQ_UQ));
  const __m256i places = _mm256_setr_epi32(0, 3, 6, 9, 12, 15, 18, 21);
  const __m256i lanes =
      _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(kSetBits.of[set]), places),
                       _mm256_set1_epi32(7));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(list),
                      _mm256_add_epi32(lanes, _mm256_set1_epi32(first)));
  return __builtin_popcount(static_cast<unsigned>(set));
}

// The low byte of each lane names one of 16 inputs: eight in `a`, then eight at `b`.
using ivec = __m256i;
inline ivec load_bytes(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
inline ivec next_byte(ivec a) { return _mm256_srli_epi32(a, 8); }
inline vec lookup(vec a, const float* b, ivec place) {
  const vec from_a = _mm256_permutevar8x32_ps(a, place);
  const vec from_b = _mm256_permutevar8x32_ps(load(b), place);
  const vec high = _mm256_castsi256_ps(_mm256_slli_epi32(place, 28));  // bit 3 as sign
  return _mm256_blendv_ps(from_a, from_b, high);
}

// Bits: what random numbers are made of.
inline ivec load_bits(const unsigned* p) { return load_bytes(p); }
inline void store_bits(unsigned* p, ivec a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a);
}
inline ivec splat_bits(unsigned a) { return _mm256_set1_epi32(static_cast<int>(a)); }
inline ivec add_bits(ivec a, ivec b) { return _mm256_add_epi32(a, b); }
inline ivec and_bits(ivec a, ivec b) { return _mm256_and_si256(a, b); }
inline ivec xor_bits(ivec a, ivec b) { return _mm256_xor_si256(a, b); }
template <int K>
inline ivec shift_right(ivec a) {
  return _mm256_srli_epi32(a, K);
}
inline ivec bits_of(vec a) { return _mm256_castps_si256(a); }
inline vec from_bits(ivec bits) { return _mm256_castsi256_ps(bits); }
// As signed integers, rounded to nearest.
inline vec to_float(ivec a) { return _mm256_cvtepi32_ps(a); }
// Unsigned numbers to be multiplied: even and odd lanes apart, each in the lower half
// of 64 bits, with whatever above it. The halves of the product with the same number in
// all lanes; a ^ b ^ c.
struct wide {
  ivec even;
  ivec odd;
};
inline wide widen(ivec a) { return {a, _mm256_srli_epi64(a, 32)}; }
inline ivec narrow(wide a) {
  return _mm256_blend_epi32(a.even, _mm256_slli_epi64(a.odd, 32), 0xaa);
}
inline wide xor_wide(wide a, wide b, unsigned c) {
  const ivec all = splat_bits(c);
  return {xor_bits(xor_bits(a.even, b.even), all),
          xor_bits(xor_bits(a.odd, b.odd), all)};
}
inline void multiply_wide(wide a, unsigned b, wide* high, wide* low) {
  const ivec factor = splat_bits(b);
  *low = {_mm256_mul_epu32(a.even, factor), _mm256_mul_epu32(a.odd, factor)};
  *high = {_mm256_srli_epi64(low->even, 32), _mm256_srli_epi64(low->odd, 32)};
}

// Four weights, each to be spread over all lanes: one load for both halves and four
// in-lane permutes leave the load ports to the inputs. Four broadcasts from memory were
// 4 to 16 % slower in batches. The empty asm keeps compilers from turning them back.
using quad = __m256;
inline quad load_quad(const float* p) {
  quad q = _mm256_broadcast_ps(reinterpret_cast<const __m128*>(p));
  __asm__("" : "+x"(q));
  return q;
}
template <int K>
inline vec spread(quad q) {
  return _mm256_permute_ps(q, K * 0x55);
}

// The first n lanes, 1 <= n <= kLanes: no other memory is touched; the others are 0.
inline vec load_first(const float* p, int n) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lanes));
}
// In pieces: masked stores are slow on some machines.
inline void store_first(float* p, vec a, int n) {
  if (n == kLanes) return store(p, a);
  __m128 rest = _mm256_castps256_ps128(a);
  if (n & 4) {
    _mm_storeu_ps(p, rest);
    rest = _mm256_extractf128_ps(a, 1);
    p += 4;
  }
  if (n & 2) {
    _mm_storel_pi(reinterpret_cast<__m64*>(p), rest);
    rest = _mm_movehl_ps(rest, rest);
    p += 2;
  }
  if (n & 1) _mm_store_ss(p, rest);
}

// Any NaN as the one quiet NaN without payload.
inline vec canonical(vec a) { return select(is_nan(a), splat(__builtin_nanf("")), a); }

// m[i] lane j becomes m[j] lane i: 4 x 4 blocks within the halves of four vectors, then
// the halves among the fours.
inline void transpose(vec (&m)[kLanes]) {
#pragma GCC unroll 2
  for (int i = 0; i < kLanes; i += 4) {
    const vec ab_low = _mm256_unpacklo_ps(m[i], m[i + 1]);
    const vec ab_high = _mm256_unpackhi_ps(m[i], m[i + 1]);
    const vec cd_low = _mm256_unpacklo_ps(m[i + 2], m[i + 3]);
    const vec cd_high = _mm256_unpackhi_ps(m[i + 2], m[i + 3]);
    m[i] = _mm256_shuffle_ps(ab_low, cd_low, 0x44);
    m[i + 1] = _mm256_shuffle_ps(ab_low, cd_low, 0xee);
    m[i + 2] = _mm256_shuffle_ps(ab_high, cd_high, 0x44);
    m[i + 3] = _mm256_shuffle_ps(ab_high, cd_high, 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const vec low = _mm256_permute2f128_ps(m[i], m[i + 4], 0x20);
    m[i + 4] = _mm256_permute2f128_ps(m[i], m[i + 4], 0x31);
    m[i] = low;
  }
}

}  // namespace
