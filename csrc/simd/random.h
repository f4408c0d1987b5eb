// Random numbers as a function of what they are for: the same bits on every instruction
// set, in every batch, on CUDA.
//
// Words are Philox4x32-10 (Salmon et al., 2011): key = seed, counter = (block + 2^24
// stream, row, step low, step high); word j of block b is draw 4 b + j. One word makes
// one number, so nothing depends on how many are drawn together. The logarithm is that
// of (1 + f) 2^e, f - f^2 / 2 + f^3 L(f); the inverse of the normal distribution
// function is x P(-log(4 p (1 - p))), x = 1 - 2 p. simd/fit_polynomials.py prints the
// coefficients. Error bounds are stated and tested in tests/runtime/test_random.py.
#pragma once

#include <cstdint>

#include "simd/vec.h"

namespace {

// What words are drawn for. Numbers of this table are part of what a seed means.
constexpr std::uint32_t kActionStream = 0;
constexpr std::uint32_t kMatrixStream = 1;  // of gSDE

// The step as the counter takes it, and the key.
struct random_key {
  std::uint64_t seed;
  std::uint64_t step;
  std::uint32_t stream;
};

// Words 4 b to 4 b + 3 of each lane, b and row being the lane's.
SPARSEAGENT_FUNCTION void philox(const random_key& key, ivec block, ivec row,
                                 ivec words[4]) {
  wide c0 = widen(add_bits(block, splat_bits(key.stream << 24)));
  wide c1 = widen(row);
  wide c2 = widen(splat_bits(static_cast<std::uint32_t>(key.step)));
  wide c3 = widen(splat_bits(static_cast<std::uint32_t>(key.step >> 32)));
  auto k0 = static_cast<std::uint32_t>(key.seed);
  auto k1 = static_cast<std::uint32_t>(key.seed >> 32);
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    wide high0, low0, high2, low2;
    multiply_wide(c0, 0xD2511F53u, &high0, &low0);
    multiply_wide(c2, 0xCD9E8D57u, &high2, &low2);
    c0 = xor_wide(high2, c1, k0);
    c2 = xor_wide(high0, c3, k1);
    c1 = low2;
    c3 = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  words[0] = narrow(c0);
  words[1] = narrow(c1);
  words[2] = narrow(c2);
  words[3] = narrow(c3);
}

// In [0, 1): the upper 24 bits.
SPARSEAGENT_FUNCTION vec uniform(ivec word) {
  return mul(to_float(shift_right<8>(word)), splat(0x1p-24f));
}

// Of positive normal numbers; Inf and NaN stay what they are.
SPARSEAGENT_FUNCTION vec log(vec x) {
  // x = (1 + f) 2^e with 1 + f in [sqrt(1/2), sqrt(2)): bits counted from those of
  // sqrt(1/2) on.
  const ivec bits = add_bits(bits_of(x), splat_bits(0u - 0x3f3504f3u));
  const vec e = sub(to_float(shift_right<23>(add_bits(bits, splat_bits(0x40000000u)))),
                    splat(128.0f));
  const vec f = sub(from_bits(add_bits(and_bits(bits, splat_bits(0x007fffffu)),
                                       splat_bits(0x3f3504f3u))),
                    splat(1.0f));
  // In pairs, then pairs of pairs: shorter to wait for than one after the other.
  const vec square = mul(f, f);
  const vec fourth = mul(square, square);
  const vec p01 = fma(splat(-0x1.000226p-2f), f, splat(0x1.555554p-2f));
  const vec p23 = fma(splat(-0x1.547244p-3f), f, splat(0x1.99a008p-3f));
  const vec p45 = fma(splat(-0x1.0d8542p-3f), f, splat(0x1.22da1ep-3f));
  const vec p67 = fma(splat(-0x1.38b542p-4f), f, splat(0x1.055b68p-3f));
  const vec p = fma(fma(p67, square, p45), fourth, fma(p23, square, p01));
  vec y = mul(mul(p, f), square);
  y = fma(e, splat(-0x1.bd0106p-13f), y);  // ln 2 in two parts, the larger one short
  y = fma(square, splat(-0.5f), y);
  y = fma(e, splat(0x1.63p-1f), add(f, y));
  return select(less(x, splat(__builtin_inff())), y, x);
}

// c0 + c1 t + ... + c8 t^8, in pairs and pairs of pairs.
SPARSEAGENT_FUNCTION vec in_pairs(float c0, float c1, float c2, float c3, float c4,
                                  float c5, float c6, float c7, float c8, vec t) {
  const vec square = mul(t, t);
  const vec fourth = mul(square, square);
  const vec p01 = fma(splat(c1), t, splat(c0));
  const vec p23 = fma(splat(c3), t, splat(c2));
  const vec p45 = fma(splat(c5), t, splat(c4));
  const vec p67 = fma(splat(c7), t, splat(c6));
  const vec low = fma(p23, square, p01);
  const vec high = fma(fma(splat(c8), square, p67), square, p45);
  return fma(high, fourth, low);
}

// The quantile by x, of w - 2.5 and of sqrt(w) - 3.5.
SPARSEAGENT_FUNCTION vec middle_of_normal(vec t) {
  return in_pairs(0x1.0fc8bcp+1f, 0x1.652c7cp-2f, -0x1.83263cp-8f, -0x1.d0b8acp-10f,
                  0x1.437bc8p-12f, -0x1.a7aa8ep-18f, -0x1.42af94p-18f, 0x1.0a903cp-21f,
                  0x1.a61e0ep-26f, t);
}

SPARSEAGENT_FUNCTION vec tail_of_normal(vec t) {
  return in_pairs(0x1.2de4c6p+2f, 0x1.6cb496p+0f, 0x1.31be0cp-8f, -0x1.79ad54p-9f,
                  0x1.70fcccp-10f, -0x1.116e3ep-10f, 0x1.aed134p-11f, -0x1.151c02p-12f,
                  -0x1.d47374p-17f, t);
}

// A normal number: the upper bit of the word is its sign, the others say which
// quantile. At most 6.34, monotone in them.
SPARSEAGENT_FUNCTION vec normal(ivec word) {
  const vec k = to_float(and_bits(word, splat_bits(0x7fffffffu)));
  const vec p = mul(add(k, splat(0.5f)), splat(0x1p-32f));  // in (0, 1/2]
  const vec x = sub(splat(1.0f), add(p, p));
  const vec tail = mul(mul(splat(4.0f), p), sub(splat(1.0f), p));
  const vec w = sub(splat(0.0f), log(tail));
  const mask near = less(w, splat(5.0f));
  vec y = middle_of_normal(sub(w, splat(2.5f)));
  if (!all(near)) {  // one word of 300
    const vec root = square_root(select(less(w, splat(0.0f)), splat(0.0f), w));
    y = select(near, y, tail_of_normal(sub(root, splat(3.5f))));
  }
  return from_bits(
      xor_bits(bits_of(mul(y, x)), and_bits(word, splat_bits(0x80000000u))));
}

}  // namespace
