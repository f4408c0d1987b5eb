/* Sums of norms have 16 partials, feature f in partial f mod 16, and one tree joins them. */
static float sa_joined(float *s) {
  int32_t half, i;
  for (half = 8; half > 0; half /= 2) {
    for (i = 0; i < half; ++i) s[i] = s[i] + s[i + half];
  }
  return s[0];
}

static float sa_sum(int32_t n, const float *x) {
  float s[16];
  int32_t f;
  for (f = 0; f < 16; ++f) s[f] = 0.0f;
  for (f = 0; f < n; ++f) s[f % 16] = s[f % 16] + x[f];
  return sa_joined(s);
}

static float sa_squares(int32_t n, const float *x, float mean) {
  float s[16];
  int32_t f;
  for (f = 0; f < 16; ++f) s[f] = 0.0f;
  for (f = 0; f < n; ++f) s[f % 16] = sa_fma(x[f] - mean, x[f] - mean, s[f % 16]);
  return sa_joined(s);
}

static void sa_scaled(int32_t n, float mean, float factor, const float *x, float *y) {
  int32_t i;
  for (i = 0; i < n; ++i) y[i] = (x[i] - mean) * factor;
}

static void sa_layer_norm(int32_t n, float eps, const float *x, float *y) {
  const float mean = sa_sum(n, x) / (float)n;
  const float variance = sa_squares(n, x, mean) / (float)n;
  sa_scaled(n, mean, 1.0f / sa_square_root(variance + eps), x, y);
}

static void sa_rms_norm(int32_t n, float eps, const float *x, float *y) {
  const float square = sa_squares(n, x, 0.0f) / (float)n;
  sa_scaled(n, 0.0f, 1.0f / sa_square_root(square + eps), x, y);
}

static void sa_l2_norm(int32_t n, float eps, const float *x, float *y) {
  const float size = sa_square_root(sa_squares(n, x, 0.0f));
  sa_scaled(n, 0.0f, 1.0f / (size < eps ? eps : size), x, y);
}

static void sa_add(int32_t n, const float *x, const float *z, float *y) {
  int32_t i;
  for (i = 0; i < n; ++i) y[i] = x[i] + z[i];
}

static void sa_multiply(int32_t n, const float *x, const float *z, float *y) {
  int32_t i;
  for (i = 0; i < n; ++i) y[i] = x[i] * z[i];
}

static void sa_lerp(int32_t n, const float *w, const float *x, const float *z, float *y) {
  int32_t i;
  for (i = 0; i < n; ++i) y[i] = sa_fma(w[i], z[i] - x[i], x[i]);
}

static void sa_copy(int32_t n, const float *x, float *y) {
  int32_t i;
  for (i = 0; i < n; ++i) y[i] = x[i];
}

static void sa_affine(int32_t n, const float *a, const float *b, const float *x, float *y) {
  int32_t i;
  for (i = 0; i < n; ++i) y[i] = sa_fma(a[i], x[i], b[i]);
}

static void sa_at_least_all(int32_t n, float low, float *y) {
  int32_t i;
  for (i = 0; i < n; ++i) y[i] = y[i] < low ? low : y[i];
}

static void sa_at_most_all(int32_t n, float high, float *y) {
  int32_t i;
  for (i = 0; i < n; ++i) y[i] = high < y[i] ? high : y[i];
}

/* Members of a group lie `step` apart, groups `next`. */
static void sa_mean(int32_t groups, int32_t size, int32_t step, int32_t next, const float *x,
                    float *y) {
  int32_t g, i;
  for (g = 0; g < groups; ++g, x += next) {
    float s = 0.0f;
    for (i = 0; i < size; ++i) s = s + x[i * step];
    y[g] = s * (1.0f / (float)size);
  }
}

static void sa_weighted_sum(int32_t groups, int32_t size, int32_t step, int32_t next,
                            const float *w, const float *x, float *y) {
  int32_t g, i;
  for (g = 0; g < groups; ++g, x += next) {
    float s = 0.0f;
    for (i = 0; i < size; ++i) s = sa_fma(w[i], x[i * step], s);
    y[g] = s;
  }
}

static void sa_softmax(int32_t groups, int32_t size, int32_t step, int32_t next, const float *x,
                       float *y) {
  int32_t g, i;
  for (g = 0; g < groups; ++g, x += next, y += next) {
    float most = x[0], total = 0.0f;
    for (i = 1; i < size; ++i) most = most < x[i * step] ? x[i * step] : most;
    for (i = 0; i < size; ++i) {
      y[i * step] = sa_exp(sa_at_least(-87.0f, x[i * step] - most));
      total = total + y[i * step];
    }
    for (i = 0; i < size; ++i) y[i * step] = y[i * step] / total;
  }
}

/* A number that names no category makes its features NaN. */
static void sa_one_hot(int32_t n, int64_t named, float *y) {
  int32_t i;
  for (i = 0; i < n; ++i) y[i] = named < 0 || named >= n ? sa_nan() : named == i ? 1.0f : 0.0f;
}
