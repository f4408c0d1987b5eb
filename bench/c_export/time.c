/* Nanoseconds of a forward, the least and the median of many samples of 50, over 64 observations. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "net.h"

enum { SAMPLES = 4000, CALLS = 50, ROWS = 64 };
static float x[ROWS][NET_IN_OBSERVATION], y[NET_OUT_ACTION];
static double taken[SAMPLES];

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int compare(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int main(void) {
  volatile float sink = 0;
  const double until = now() + 1.5e9;
  int i, k, samples;
  srand(1);
  for (i = 0; i < ROWS; ++i) {
    for (k = 0; k < NET_IN_OBSERVATION; ++k) x[i][k] = (float)rand() / (float)RAND_MAX * 4 - 2;
  }
  for (i = 0; i < SAMPLES && now() < until; ++i) {
    const double start = now();
    for (k = 0; k < CALLS; ++k) {
      net_forward(x[k % ROWS], y);
      sink = sink + y[0];
    }
    taken[i] = (now() - start) / CALLS;
  }
  samples = i;
  qsort(taken, (size_t)samples, sizeof *taken, compare);
  printf("%.1f %.1f\n", taken[0], taken[samples / 2]);
  return 0;
}
