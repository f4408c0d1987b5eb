// Compiled once per instruction set: the loop that measures its FMA peak.
#include "simd/vec.h"

extern "C" float SPARSEAGENT_SYMBOL(long iterations);

extern "C" float SPARSEAGENT_SYMBOL(long iterations) {
  // 12 chains hide the latency of two FMA pipes and fit 16 registers with their
  // operands; 1 - 2^-20 keeps the numbers normal.
  vec acc[12];
  for (int i = 0; i < 12; ++i) acc[i] = splat(static_cast<float>(i));
  const vec factor = splat(1.0f - 0x1p-20f);
  const vec term = splat(0x1p-20f);
  for (long n = 0; n < iterations; ++n) {
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) acc[i] = fma(acc[i], factor, term);
  }
  vec sum = acc[0];
  for (int i = 1; i < 12; ++i) sum = add(sum, acc[i]);
  float lanes[kLanes];
  store(lanes, sum);
  return lanes[0];
}
