/* A window that slides over an image: places and strides in `w`, taps as (feature, down, across) in
   `taps`. A tap outside the image is absent. */
enum sa_window {
  sa_down,
  sa_across,
  sa_height,
  sa_width,
  sa_stride_down,
  sa_stride_across,
  sa_top,
  sa_left,
  sa_step_down,
  sa_step_across
};

/* Where a tap lies for place (i, j) of a window, numbers by `enum sa_window`; or -1. */
static int32_t sa_tap(const int32_t *w, const int32_t *tap, int32_t i, int32_t j) {
  const int32_t down = i * w[sa_stride_down] - w[sa_top] + tap[1];
  const int32_t across = j * w[sa_stride_across] - w[sa_left] + tap[2];
  if (down < 0 || down >= w[sa_height] || across < 0 || across >= w[sa_width]) return -1;
  return tap[0] + down * w[sa_step_down] + across * w[sa_step_across];
}

static void sa_conv2d(int32_t out, const int32_t *w, const int32_t *taps, const int32_t *lengths,
                      const float *bias, const float *values, const sa_index *columns,
                      const float *x, float *y) {
  int32_t o, i, j, k;
  for (o = 0; o < out; values += lengths[o], columns += lengths[o], ++o) {
    for (i = 0; i < w[sa_down]; ++i) {
      for (j = 0; j < w[sa_across]; ++j) {
        float s = bias[o];
        for (k = 0; k < lengths[o]; ++k) {
          const int32_t at = sa_tap(w, taps + 3 * columns[k], i, j);
          if (at >= 0) s = sa_fma(values[k], x[at], s);
        }
        *y++ = s;
      }
    }
  }
}

/* The largest of `count` taps of each channel; NaN is larger than all. */
static void sa_pool(int32_t channels, const int32_t *w, int32_t count, const int32_t *taps,
                    const float *x, float *y) {
  int32_t c, i, j, k;
  for (c = 0; c < channels; ++c, taps += 3 * count) {
    for (i = 0; i < w[sa_down]; ++i) {
      for (j = 0; j < w[sa_across]; ++j) {
        float most = -(1.0f / 0.0f);
        for (k = 0; k < count; ++k) {
          const int32_t at = sa_tap(w, taps + 3 * k, i, j);
          if (at >= 0) most = x[at] > most || x[at] != x[at] ? x[at] : most;
        }
        *y++ = most;
      }
    }
  }
}
