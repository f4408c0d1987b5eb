// One lane: the plain C++ that every other vec_*.h must equal bit for bit.
#pragma once

namespace {

constexpr int kLanes = 1;
constexpr int kTileRows = 4;            // rows of the dense register tile
constexpr int kTileVectors = 4;         // of the widest tile
constexpr bool kManyRegisters = false;  // 32, not 16

using vec = float;
using mask = bool;

inline vec load(const float* p) { return *p; }
inline void store(float* p, vec a) { *p = a; }
inline vec splat(float a) { return a; }
inline vec fma(vec a, vec b, vec c) { return __builtin_fmaf(a, b, c); }
inline vec add(vec a, vec b) { return a + b; }
inline vec sub(vec a, vec b) { return a - b; }
inline vec mul(vec a, vec b) { return a * b; }
inline vec div(vec a, vec b) { return a / b; }
inline vec square_root(vec a) { return __builtin_sqrtf(a); }
inline vec magnitude(vec a) { return __builtin_fabsf(a); }
inline vec copy_sign(vec size, vec sign) { return __builtin_copysignf(size, sign); }
inline mask less(vec a, vec b) { return a < b; }
inline mask is_nan(vec a) { return a != a; }
inline vec select(mask m, vec a, vec b) { return m ? a : b; }
inline bool all(mask m) { return m; }

// NaN passes both.
inline vec at_least(vec bound, vec a) { return a < bound ? bound : a; }
inline vec at_most(vec bound, vec a) { return bound < a ? bound : a; }

// max(0, a) that lets NaN through.
inline vec positive_part(vec a) { return 0.0f > a ? 0.0f : a; }

// 2^n for z = 1.5 * 2^23 + n, n in [-126, 127]: the low bits of z are n.
inline vec power_of_two(vec z) {
  unsigned bits;
  __builtin_memcpy(&bits, &z, sizeof bits);
  bits = (bits + 127u) << 23;
  __builtin_memcpy(&z, &bits, sizeof z);
  return z;
}

inline vec either(vec a, vec b) {  // bit by bit
  unsigned bits[2];
  __builtin_memcpy(&bits[0], &a, sizeof a);
  __builtin_memcpy(&bits[1], &b, sizeof b);
  bits[0] |= bits[1];
  __builtin_memcpy(&a, &bits[0], sizeof a);
  return a;
}

// Appends `first` to `list` if `a` is not 0; returns whether it is.
inline int append_nonzero(vec a, int first, int* list) {
  *list = first;
  return a != 0.0f;
}

// The low byte names one of 2 inputs: `a`, then the one at `b`.
using ivec = unsigned;
inline ivec load_bytes(const void* p) {
  ivec a;
  __builtin_memcpy(&a, p, sizeof a);
  return a;
}
inline ivec next_byte(ivec a) { return a >> 8; }
inline vec lookup(vec a, const float* b, ivec place) { return place & 1 ? *b : a; }

// Bits: what random numbers are made of.
inline ivec load_bits(const unsigned* p) { return *p; }
inline void store_bits(unsigned* p, ivec a) { *p = a; }
inline ivec splat_bits(unsigned a) { return a; }
inline ivec add_bits(ivec a, ivec b) { return a + b; }
inline ivec and_bits(ivec a, ivec b) { return a & b; }
inline ivec xor_bits(ivec a, ivec b) { return a ^ b; }
template <int K>
inline ivec shift_right(ivec a) {
  return a >> K;
}
inline ivec bits_of(vec a) {
  ivec bits;
  __builtin_memcpy(&bits, &a, sizeof a);
  return bits;
}
inline vec from_bits(ivec bits) {
  vec a;
  __builtin_memcpy(&a, &bits, sizeof a);
  return a;
}
// As signed integers, rounded to nearest.
inline vec to_float(ivec a) { return static_cast<float>(static_cast<int>(a)); }
// Unsigned numbers to be multiplied: a form in which that is quick. The halves of the
// product with the same number in all lanes; a ^ b ^ c.
using wide = ivec;
inline wide widen(ivec a) { return a; }
inline ivec narrow(wide a) { return a; }
inline wide xor_wide(wide a, wide b, unsigned c) {
  return xor_bits(xor_bits(a, b), splat_bits(c));
}
inline void multiply_wide(wide a, unsigned b, wide* high, wide* low) {
  const unsigned long long product = static_cast<unsigned long long>(a) * b;
  *high = static_cast<unsigned>(product >> 32);
  *low = static_cast<unsigned>(product);
}

// Four weights, each to be spread over all lanes.
using quad = const float*;
inline quad load_quad(const float* p) { return p; }
template <int K>
inline vec spread(quad q) {
  return q[K];
}

// The first n lanes, 1 <= n <= kLanes: no other memory is touched; the others are 0.
inline vec load_first(const float* p, int) { return *p; }
inline void store_first(float* p, vec a, int) { *p = a; }

// Any NaN as the one quiet NaN without payload.
inline vec canonical(vec a) { return a == a ? a : __builtin_nanf(""); }

// m[i] lane j becomes m[j] lane i.
inline void transpose(vec (&)[kLanes]) {}

}  // namespace
