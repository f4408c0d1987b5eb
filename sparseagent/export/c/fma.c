/* a * b + c, rounded once. Three bodies give the same bits; -DSA_FMA=1, 2 or 3 takes one. Never
   the C library's fmaf: it is not correctly rounded everywhere (newlib). */
#if !defined(SA_FMA)
#if defined(__FP_FAST_FMAF) || defined(__ARM_FEATURE_FMA) || defined(__FMA__)
#define SA_FMA 1
#elif defined(__SSE2__) || (defined(__ARM_FP) && (__ARM_FP & 8)) || __riscv_flen + 0 >= 64
#define SA_FMA 2
#else
#define SA_FMA 3
#endif
#endif
#if SA_FMA == 1 /* an instruction */
#if !(defined(__FP_FAST_FMAF) || defined(__ARM_FEATURE_FMA) || defined(__FMA__))
#error "SA_FMA 1: this target has no instruction for it (x86: -mfma)"
#endif
static inline float sa_fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
#elif SA_FMA == 2 /* doubles: the product is exact, the sum is rounded to odd (Boldo 2008) */
static inline float sa_fma(float a, float b, float c) {
  union {
    double f;
    uint64_t u;
  } s;
  const double p = (double)a * (double)b, d = (double)c;
  double t, lost;
  s.f = p + d;
  t = s.f - p;
  lost = (p - (s.f - t)) + (d - t);
  if (lost != 0.0 && (s.u & 1u) == 0 && s.f - s.f == 0.0) {
    if ((lost > 0.0) == (s.f > 0.0)) {
      ++s.u;
    } else {
      --s.u;
    }
  }
  return (float)s.f;
}
#else /* integers */
static int32_t sa_leading_zeros(uint64_t v) {
#if defined(__GNUC__)
  return __builtin_clzll(v);
#else
  int32_t n = 0;
  for (; !(v >> 63); v <<= 1) ++n;
  return n;
#endif
}
/* v / 2^n; its last bit is set if anything was lost. */
static uint64_t sa_shifted(uint64_t v, int32_t n) {
  if (n > 62) return 1;
  return v >> n | ((v & (((uint64_t)1 << n) - 1)) != 0);
}
static float sa_fma(float a, float b, float c) {
  sa_word x, y, z;
  uint32_t sign, ex, ey, ez, mx, my, mz, m;
  int32_t ep, eq, n, shift = 40;
  uint64_t p, q, half, rest;
  x.f = a;
  y.f = b;
  z.f = c;
  ex = x.u >> 23 & 255u;
  ey = y.u >> 23 & 255u;
  ez = z.u >> 23 & 255u;
  if (ex == 255u || ey == 255u) return a * b + c; /* Inf or NaN */
  if (ez == 255u) return c;                       /* though the product overflow */
  sign = (x.u ^ y.u) >> 31;
  mx = x.u & 0x7fffffu;
  my = y.u & 0x7fffffu;
  mz = z.u & 0x7fffffu;
  if (ex != 0) mx |= 0x800000u;
  if (ey != 0) my |= 0x800000u;
  if (ez != 0) mz |= 0x800000u;
  if (mx == 0 || my == 0) return mz != 0 ? c : a * b + c;
  p = (uint64_t)mx * my; /* the product is p 2^ep, c is q 2^eq */
  q = mz;
  ep = (int32_t)(ex != 0 ? ex : 1) + (int32_t)(ey != 0 ? ey : 1) - 300;
  eq = (int32_t)(ez != 0 ? ez : 1) - 150;
  n = sa_leading_zeros(p) - 2; /* the highest bit to place 61 */
  p <<= n;
  ep -= n;
  if (q != 0) {
    n = sa_leading_zeros(q) - 2;
    q <<= n;
    eq -= n;
    n = ep - eq;
    if (n > 0) {
      q = sa_shifted(q, n);
    } else if (n < 0) {
      p = sa_shifted(p, -n);
      ep = eq;
    }
    if (sign == z.u >> 31) {
      p += q;
    } else if (p >= q) {
      p -= q;
    } else {
      p = q - p;
      sign = z.u >> 31;
    }
    if (p == 0) return 0.0f;
  }
  n = sa_leading_zeros(p);
  p <<= n;
  ep += 63 + 127 - n; /* as the result's exponent */
  if (ep <= 0) {
    shift += 1 - ep;
    ep = 0;
  }
  if (shift > 63) {
    z.u = sign << 31 | (shift == 64 && p > (uint64_t)1 << 63);
    return z.f;
  }
  m = (uint32_t)(p >> shift);
  half = (uint64_t)1 << (shift - 1);
  rest = p & ((half << 1) - 1);
  if (rest > half || (rest == half && (m & 1u) != 0)) ++m;
  if (ep > 0) m += (uint32_t)(ep - 1) << 23;
  if (m > 0x7f800000u) m = 0x7f800000u;
  z.u = sign << 31 | m;
  return z.f;
}
#endif
