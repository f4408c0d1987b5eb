static int32_t sa_argmax(int32_t n, const float *y) {
  int32_t best = 0, i;
  for (i = 1; i < n && y[best] == y[best]; ++i) {
    if (!(y[i] <= y[best])) best = i; /* larger, or NaN */
  }
  return best;
}

static void sa_choices(int32_t n, const int32_t *sizes, const int32_t *starts, const float *y,
                       int32_t *action) {
  int32_t i;
  for (i = 0; i < n; y += sizes[i], ++i) action[i] = starts[i] + sa_argmax(sizes[i], y);
}

static void sa_bits(int32_t n, const float *y, int32_t *action) {
  int32_t i;
  for (i = 0; i < n; ++i) action[i] = y[i] > 0.0f;
}

static void sa_clip(int32_t n, const float *low, const float *high, float *y) {
  int32_t i;
  for (i = 0; i < n; ++i) {
    y[i] = y[i] < low[i] ? low[i] : y[i];
    y[i] = y[i] > high[i] ? high[i] : y[i];
  }
}

static void sa_unscale(int32_t n, const float *low, const float *high, float *y) {
  int32_t i;
  for (i = 0; i < n; ++i) {
    y[i] = low[i] + 0.5f * (y[i] + 1.0f) * (high[i] - low[i]);
    if (y[i] != y[i]) y[i] = sa_nan();
  }
}

/* Word `number` of a row at a step: Philox4x32-10 (Salmon et al., 2011), four words a block. */
static uint32_t sa_word_of(uint64_t seed, uint64_t step, uint32_t stream, uint32_t row,
                           uint32_t number) {
  uint32_t c[4], k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
  int32_t round;
  c[0] = number / 4 + (stream << 24);
  c[1] = row;
  c[2] = (uint32_t)step;
  c[3] = (uint32_t)(step >> 32);
  for (round = 0; round < 10; ++round) {
    const uint64_t a = (uint64_t)c[0] * 0xd2511f53u, b = (uint64_t)c[2] * 0xcd9e8d57u;
    c[0] = (uint32_t)(b >> 32) ^ c[1] ^ k0;
    c[2] = (uint32_t)(a >> 32) ^ c[3] ^ k1;
    c[1] = (uint32_t)b;
    c[3] = (uint32_t)a;
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
  return c[number % 4];
}

static float sa_weight_of(float logit, float most) {
  const float d = logit - most;
  return d < -87.0f ? 0.0f : sa_exp(d);
}

/* Of n logits the index that a word draws: as many as have a sum up to them that is not above. */
static int32_t sa_drawn(int32_t n, const float *l, uint32_t word) {
  float most = l[0], sum = 0.0f, threshold;
  int32_t i, index = 0;
  for (i = 1; i < n; ++i) most = most < l[i] ? l[i] : most;
  for (i = 0; i < n; ++i) sum = sum + sa_weight_of(l[i], most);
  threshold = sa_uniform(word) * sum;
  sum = 0.0f;
  for (i = 0; i + 1 < n; ++i) {
    sum = sum + sa_weight_of(l[i], most);
    index += !(threshold < sum);
  }
  return index;
}

static void sa_draw_choices(int32_t n, const int32_t *sizes, const int32_t *starts, const float *y,
                            uint64_t seed, uint64_t step, uint32_t row, int32_t *action) {
  int32_t i;
  for (i = 0; i < n; y += sizes[i], ++i) {
    const uint32_t word = sa_word_of(seed, step, 0, row, (uint32_t)i);
    action[i] = starts[i] + sa_drawn(sizes[i], y, word);
  }
}

static void sa_draw_bits(int32_t n, const float *y, uint64_t seed, uint64_t step, uint32_t row,
                         int32_t *action) {
  int32_t i;
  for (i = 0; i < n; ++i) {
    action[i] = sa_uniform(sa_word_of(seed, step, 0, row, (uint32_t)i)) < sa_sigmoid(y[i]);
  }
}

static int32_t sa_explore(int32_t n, float epsilon, const float *y, uint64_t seed, uint64_t step,
                          uint32_t row) {
  const uint64_t any = (uint64_t)sa_word_of(seed, step, 0, row, 1) * (uint32_t)n;
  const int32_t explores = sa_uniform(sa_word_of(seed, step, 0, row, 0)) < epsilon;
  return explores ? (int32_t)(any >> 32) : sa_argmax(n, y);
}

/* mean + exp(log_std) z, in place. */
static void sa_draw_gaussian(int32_t n, const float *log_std, float low, float high, uint64_t seed,
                             uint64_t step, uint32_t row, float *y) {
  int32_t i;
  for (i = 0; i < n; ++i) {
    const float spread = sa_exp(sa_at_most(high, sa_at_least(low, log_std[i])));
    y[i] = sa_fma(spread, sa_normal(sa_word_of(seed, step, 0, row, (uint32_t)i)), y[i]);
  }
}

/* mean + latent (std z), in place: the matrix holds for `resample` steps, 0 for ever. */
static void sa_draw_gsde(int32_t n, int32_t latents, const float *latent, const float *std,
                         uint32_t resample, uint64_t seed, uint64_t step, uint32_t row, float *y) {
  const uint64_t number = resample == 0 ? 0 : step / resample;
  int32_t i, f;
  for (i = 0; i < n; ++i) {
    float noise = 0.0f;
    for (f = 0; f < latents; ++f) {
      const int32_t at = f * n + i;
      const uint32_t word = sa_word_of(seed, number, 1, row, (uint32_t)at);
      noise = sa_fma(latent[f], std[at] * sa_normal(word), noise);
    }
    y[i] = y[i] + noise;
  }
}

static void sa_squash(int32_t n, float *y) {
  int32_t i;
  for (i = 0; i < n; ++i) y[i] = sa_tanh(y[i]);
}
