// norm: a row of features over its own mean and spread.
//
// Sums have 16 partials, feature f in partial f mod 16, and a fixed tree joins them:
// s[i] += s[i + 8], then 4, 2, 1. That is one register of AVX-512, two of AVX2, four of
// NEON, and 16 accumulators where the lanes are observations: the same bits in each.
#include "simd/formulas.h"

extern "C" const sparseagent::OpKernel SPARSEAGENT_SYMBOL;

namespace {

using sparseagent::NormRule;
using sparseagent::OpView;

inline float plus(float a, float b) { return a + b; }

// The sum of x, or that of the squares of x - mean.
inline float sum_of_row(const float* x, int n) {
  constexpr int kParts = kPartials / kLanes;
  vec part[kParts];
  for (int p = 0; p < kParts; ++p) part[p] = splat(0.0f);
  int i = 0;
  for (; i + kPartials <= n; i += kPartials) {
    for (int p = 0; p < kParts; ++p) part[p] = add(part[p], load(x + i + p * kLanes));
  }
  float s[kPartials];
  for (int p = 0; p < kParts; ++p) store(s + p * kLanes, part[p]);
  for (int f = i; f < n; ++f) s[f - i] = s[f - i] + x[f];
  return joined(s, plus);
}

inline float squares_of_row(const float* x, int n, float mean) {
  constexpr int kParts = kPartials / kLanes;
  vec part[kParts];
  for (int p = 0; p < kParts; ++p) part[p] = splat(0.0f);
  int i = 0;
  for (; i + kPartials <= n; i += kPartials) {
    for (int p = 0; p < kParts; ++p) {
      const vec d = sub(load(x + i + p * kLanes), splat(mean));
      part[p] = fma(d, d, part[p]);
    }
  }
  float s[kPartials];
  for (int p = 0; p < kParts; ++p) store(s + p * kLanes, part[p]);
  for (int f = i; f < n; ++f) {
    const float d = x[f] - mean;
    s[f - i] = __builtin_fmaf(d, d, s[f - i]);
  }
  return joined(s, plus);
}

// The same of one row: a vector of them would take twice as long.
inline float gain_of_row(const OpView& op, float squares) {
  if (op.norm == NormRule::l2) {
    const float size = __builtin_sqrtf(squares);
    return 1.0f / (size < op.eps ? op.eps : size);
  }
  return 1.0f / __builtin_sqrtf(squares / static_cast<float>(op.in) + op.eps);
}

void one(const OpView& op, const float* const* x, float* y) {
  const int n = op.in;
  float mean = 0.0f;
  if (op.norm == NormRule::layer) mean = sum_of_row(x[0], n) / static_cast<float>(n);
  const vec factor = splat(gain_of_row(op, squares_of_row(x[0], n, mean)));
  for (int i = 0; i < n; i += kLanes) {
    store(y + i, mul(sub(load(x[0] + i), splat(mean)), factor));
  }
}

// visit(p, v) for every feature of a column of a tile, with the partial it goes to:
// known when compiling, so that partials stay in registers.
template <typename Visit>
inline void for_each_partial(const float* column, long width, int n, Visit visit) {
  int f = 0;
  for (; f + kPartials <= n; f += kPartials) {
#pragma GCC unroll 16
    for (int p = 0; p < kPartials; ++p) visit(p, load(column + (f + p) * width));
  }
#pragma GCC unroll 16
  for (int p = 0; p < kPartials; ++p) {
    if (f + p < n) visit(p, load(column + (f + p) * width));
  }
}

void tile(const OpView& op, const float* const* x, float* y, int vectors) {
  const long width = static_cast<long>(vectors) * kLanes;
  const int n = op.in;
  for (long c = 0; c < width; c += kLanes) {
    const float* column = x[0] + c;
    vec s[kPartials];
    for (vec& part : s) part = splat(0.0f);
    vec mean = splat(0.0f);
    if (op.norm == NormRule::layer) {
      for_each_partial(column, width, n, [&](int p, vec v) { s[p] = add(s[p], v); });
      mean = div(joined(s, add), splat(static_cast<float>(n)));
      for (vec& part : s) part = splat(0.0f);
    }
    for_each_partial(column, width, n, [&](int p, vec v) {
      const vec d = sub(v, mean);
      s[p] = fma(d, d, s[p]);
    });
    const vec factor = gain(op, joined(s, add));
    for (int f = 0; f < n; ++f) {
      store(y + c + f * width, mul(sub(load(column + f * width), mean), factor));
    }
  }
}

}  // namespace

const sparseagent::OpKernel SPARSEAGENT_SYMBOL = {"norm", one, tile};
