/* Rows of a sparse layer, four at a time: each is one chain from start[r] on, in its stored order.
   Of four rows the entries that all of them have come first, a word of four columns for each step,
   then what is left of each row, by the lengths in the bytes of `more`. */
static void sa_sparse_bytes(int32_t rows, const uint8_t *common, const uint32_t *more,
                            const float *start, const float *w, const uint32_t *columns,
                            const uint8_t *rest, const float *x, float *y) {
  uint32_t c, k;
  for (; rows > 0; rows -= 4, y += 4) {
    float *row = y;
    if (rows >= 4) {
      float s0 = *start++, s1 = *start++, s2 = *start++, s3 = *start++;
      k = *common++;
      /* long rows { */
      for (; k > 1; k -= 2, w += 8, columns += 2) {
        c = columns[0];
        s0 = sa_fma(w[0], x[c & 255u], s0);
        s1 = sa_fma(w[1], x[c >> 8 & 255u], s1);
        s2 = sa_fma(w[2], x[c >> 16 & 255u], s2);
        s3 = sa_fma(w[3], x[c >> 24], s3);
        c = columns[1];
        s0 = sa_fma(w[4], x[c & 255u], s0);
        s1 = sa_fma(w[5], x[c >> 8 & 255u], s1);
        s2 = sa_fma(w[6], x[c >> 16 & 255u], s2);
        s3 = sa_fma(w[7], x[c >> 24], s3);
      }
      /* } */
      for (; k != 0; --k) {
        c = *columns++;
        s0 = sa_fma(*w++, x[c & 255u], s0);
        s1 = sa_fma(*w++, x[c >> 8 & 255u], s1);
        s2 = sa_fma(*w++, x[c >> 16 & 255u], s2);
        s3 = sa_fma(*w++, x[c >> 24], s3);
      }
      y[0] = s0;
      y[1] = s1;
      y[2] = s2;
      y[3] = s3;
    } else {
      for (c = 0; c < (uint32_t)rows; ++c) y[c] = *start++;
    }
    for (c = *more++; c != 0; c >>= 8, ++row) {
      float s = *row;
      for (k = c & 255u; k != 0; --k) s = sa_fma(*w++, x[*rest++], s);
      *row = s;
    }
  }
}

/* The same where a byte is too narrow for columns or lengths. */
static void sa_sparse(int32_t rows, const sa_index *lengths, const float *start, const float *w,
                      const sa_index *columns, const float *x, float *y) {
  uint32_t k, n;
  for (; rows >= 4; rows -= 4, lengths += 4, start += 4, y += 4) {
    float s0 = start[0], s1 = start[1], s2 = start[2], s3 = start[3];
    n = lengths[0];
    if (n > lengths[1]) n = lengths[1];
    if (n > lengths[2]) n = lengths[2];
    if (n > lengths[3]) n = lengths[3];
    for (k = n; k != 0; --k, w += 4, columns += 4) {
      s0 = sa_fma(w[0], x[columns[0]], s0);
      s1 = sa_fma(w[1], x[columns[1]], s1);
      s2 = sa_fma(w[2], x[columns[2]], s2);
      s3 = sa_fma(w[3], x[columns[3]], s3);
    }
    for (k = lengths[0] - n; k != 0; --k) s0 = sa_fma(*w++, x[*columns++], s0);
    for (k = lengths[1] - n; k != 0; --k) s1 = sa_fma(*w++, x[*columns++], s1);
    for (k = lengths[2] - n; k != 0; --k) s2 = sa_fma(*w++, x[*columns++], s2);
    for (k = lengths[3] - n; k != 0; --k) s3 = sa_fma(*w++, x[*columns++], s3);
    y[0] = s0;
    y[1] = s1;
    y[2] = s2;
    y[3] = s3;
  }
  for (; rows > 0; --rows) {
    float s = *start++;
    for (k = *lengths++; k != 0; --k) s = sa_fma(*w++, x[*columns++], s);
    *y++ = s;
  }
}

/* Rows of a dense layer, four at a time: their weights lie interleaved. */
static void sa_dense(int32_t rows, int32_t in, const float *start, const float *w, const float *x,
                     float *y) {
  int32_t k;
  for (; rows >= 4; rows -= 4, start += 4, y += 4) {
    float s0 = start[0], s1 = start[1], s2 = start[2], s3 = start[3];
    for (k = 0; k < in; ++k, w += 4) {
      s0 = sa_fma(w[0], x[k], s0);
      s1 = sa_fma(w[1], x[k], s1);
      s2 = sa_fma(w[2], x[k], s2);
      s3 = sa_fma(w[3], x[k], s3);
    }
    y[0] = s0;
    y[1] = s1;
    y[2] = s2;
    y[3] = s3;
  }
  for (; rows > 0; --rows) {
    float s = *start++;
    for (k = 0; k < in; ++k) s = sa_fma(*w++, x[k], s);
    *y++ = s;
  }
}

/* The first run of every row starts from its bias, the others from 0: runs[runs][rows]. */
static void sa_starts(int32_t rows, int32_t chains, const float *bias, float *start) {
  int32_t r;
  for (r = 0; r < rows; ++r) start[r] = bias[r];
  for (; r < chains; ++r) start[r] = 0.0f;
}

/* The pairwise tree over the runs of every row; an odd one moves up unchanged. */
static void sa_join(int32_t rows, int32_t runs, float *s, float *y) {
  int32_t i, r;
  for (; runs > 1; runs = (runs + 1) / 2) {
    for (i = 0; i < runs / 2; ++i) {
      for (r = 0; r < rows; ++r) s[i * rows + r] = s[2 * i * rows + r] + s[(2 * i + 1) * rows + r];
    }
    if (runs % 2 == 1) {
      for (r = 0; r < rows; ++r) s[i * rows + r] = s[2 * i * rows + r];
    }
  }
  for (r = 0; r < rows; ++r) y[r] = s[r];
}
