static inline float sa_magnitude(float a) {
  sa_word x;
  x.f = a;
  x.u &= 0x7fffffffu;
  return x.f;
}

static inline float sa_copy_sign(float size, float sign) {
  sa_word x, y;
  x.f = size;
  y.f = sign;
  x.u = (x.u & 0x7fffffffu) | (y.u & 0x80000000u);
  return x.f;
}

static inline uint32_t sa_bits_of(float a) {
  sa_word x;
  x.f = a;
  return x.u;
}

static inline float sa_from_bits(uint32_t a) {
  sa_word x;
  x.u = a;
  return x.f;
}

/* Bounds that NaN passes. */
static inline float sa_at_least(float bound, float a) { return a < bound ? bound : a; }

static inline float sa_at_most(float bound, float a) { return bound < a ? bound : a; }

/* max(0, a) that lets NaN through. */
static inline float sa_positive_part(float a) { return 0.0f > a ? 0.0f : a; }

/* 2^n for z = 1.5 * 2^23 + n, n in [-126, 127]: the low bits of z are n. */
static inline float sa_power_of_two(float z) {
  sa_word x;
  x.f = z;
  x.u = (x.u + 127u) << 23;
  return x.f;
}

/* Exactly rounded; a is not negative. Two bits of it give one bit of the root. */
static float sa_square_root(float a) {
  sa_word x;
  uint32_t m, test, root = 0, rest = 0;
  int32_t e, i;
  x.f = a;
  if (!(a > 0.0f) || x.u == 0x7f800000u) return a;
  e = (int32_t)(x.u >> 23);
  m = x.u & 0x7fffffu;
  if (e != 0) {
    m |= 0x800000u;
  } else {
    for (e = 1; m < 0x800000u; m <<= 1) --e;
  }
  e -= 151; /* a is 2 m 2^e */
  m <<= 1;
  if ((e & 1) != 0) {
    m <<= 1;
    --e;
  }
  for (i = 24; i >= 0; --i) {
    rest = rest << 2 | (i >= 12 ? m >> 2 * (i - 12) & 3u : 0u);
    test = root << 2 | 1u;
    root <<= 1;
    if (rest >= test) {
      rest -= test;
      root |= 1u;
    }
  }
  x.u = ((uint32_t)(e / 2 + 138) << 23) + ((root + 1) >> 1);
  return x.f;
}

/* The one NaN that leaves a policy. */
static inline float sa_nan(void) {
  sa_word x;
  x.u = 0x7fc00000u;
  return x.f;
}

static void sa_give(int32_t n, const float *x, float *y) {
  int32_t i;
  for (i = 0; i < n; ++i) y[i] = x[i] == x[i] ? x[i] : sa_nan();
}
