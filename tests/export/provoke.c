/* fma and sqrt of an exported policy against glibc's, on cases that provoke wrong roundings.
   Gives the number of each that were wrong; and how many of the naive one, to see that they do. */
#include <math.h>
#include <stdio.h>

#include "tried.c"

static uint64_t state = 88172645463325252ull;
static uint64_t next(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

static float with(uint32_t bits) {
  tried_word x;
  x.u = bits;
  return x.f;
}

static uint32_t bits_of(float f) {
  tried_word x;
  x.f = f;
  return x.u;
}

/* c and half a unit of it: whatever the product lacks of that decides the rounding. */
static void halfway(float *a, float *b, float *c) {
  const uint64_t v = next();
  *a = with(0x3f800000u | (v & 0x7fffffu));
  *c = with(0x3f800000u | (v >> 24 & 0x7fffffu) | 1u);
  *b = (float)(0x1p-24 / (double)*a);
  if (v >> 63) *b = -*b;
  if (v >> 62 & 1) { /* the same about the smallest numbers */
    *b *= 0x1p-102f;
    *c *= 0x1p-102f;
  }
}

/* Any bits, and exponents close to each other: cancellation, denormals, Inf, NaN. */
static void any(float *a, float *b, float *c) {
  const uint64_t v = next(), w = next();
  *a = with((uint32_t)v);
  *b = with((uint32_t)(v >> 32));
  *c = with((uint32_t)w);
  if (w >> 63) *c = -(*a * *b) * (1.0f + (float)(w & 7u) * 0x1p-23f);
}

int main(void) {
  long i, wrong = 0, naive = 0, roots = 0;
  volatile float a, b, c, z;
  for (i = 0; i < 2000000; ++i) {
    float x, y, s;
    uint32_t wanted, got;
    (i % 2 ? halfway : any)(&x, &y, &s);
    a = x, b = y, c = s;
    z = fmaf(a, b, c);
    wanted = bits_of(z);
    z = tried_fma(a, b, c);
    got = bits_of(z);
    if (z != z && wanted << 1 > 0xff000000u) got = wanted; /* some NaN */
    wrong += got != wanted;
    if (i % 2) {
      volatile double p = (double)a * (double)b;
      volatile double sum = p + (double)c;
      naive += bits_of((float)sum) != wanted;
    }
    x = fabsf(x);
    if (x == x) roots += bits_of(tried_square_root(x)) != bits_of(sqrtf(x));
  }
  printf("%ld %ld %ld\n", wrong, naive, roots);
  return 0;
}
