#include "core/transpose.h"

#include <cstring>

#if defined(__SSE2__)
#include <xmmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace sparseagent {
namespace {

// dst[j][i] = src[i][j] for a 4 x 4 block.
#if defined(__SSE2__)
inline void block4(const float* src, std::int64_t src_stride, float* dst,
                   std::int64_t dst_stride) {
  __m128 r0 = _mm_loadu_ps(src);
  __m128 r1 = _mm_loadu_ps(src + src_stride);
  __m128 r2 = _mm_loadu_ps(src + 2 * src_stride);
  __m128 r3 = _mm_loadu_ps(src + 3 * src_stride);
  _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
  _mm_storeu_ps(dst, r0);
  _mm_storeu_ps(dst + dst_stride, r1);
  _mm_storeu_ps(dst + 2 * dst_stride, r2);
  _mm_storeu_ps(dst + 3 * dst_stride, r3);
}
#elif defined(__aarch64__)
inline void block4(const float* src, std::int64_t src_stride, float* dst,
                   std::int64_t dst_stride) {
  const float32x4x2_t even = vtrnq_f32(vld1q_f32(src), vld1q_f32(src + src_stride));
  const float32x4x2_t odd =
      vtrnq_f32(vld1q_f32(src + 2 * src_stride), vld1q_f32(src + 3 * src_stride));
  const auto low = [](float32x4_t a, float32x4_t b) {
    return vcombine_f32(vget_low_f32(a), vget_low_f32(b));
  };
  const auto high = [](float32x4_t a, float32x4_t b) {
    return vcombine_f32(vget_high_f32(a), vget_high_f32(b));
  };
  vst1q_f32(dst, low(even.val[0], odd.val[0]));
  vst1q_f32(dst + dst_stride, low(even.val[1], odd.val[1]));
  vst1q_f32(dst + 2 * dst_stride, high(even.val[0], odd.val[0]));
  vst1q_f32(dst + 3 * dst_stride, high(even.val[1], odd.val[1]));
}
#else
inline void block4(const float* src, std::int64_t src_stride, float* dst,
                   std::int64_t dst_stride) {
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) dst[j * dst_stride + i] = src[i * src_stride + j];
  }
}
#endif

// dst [columns, dst_stride] = transpose of src [rows, src_stride].
void transpose(const float* src, int rows, int columns, std::int64_t src_stride,
               float* dst, std::int64_t dst_stride) {
  const int whole_rows = rows / 4 * 4;
  const int whole_columns = columns / 4 * 4;
  for (int i = 0; i < whole_rows; i += 4) {
    for (int j = 0; j < whole_columns; j += 4) {
      block4(src + i * src_stride + j, src_stride, dst + j * dst_stride + i,
             dst_stride);
    }
  }
  for (int i = 0; i < rows; ++i) {
    const int first = i < whole_rows ? whole_columns : 0;
    for (int j = first; j < columns; ++j)
      dst[j * dst_stride + i] = src[i * src_stride + j];
  }
}

void canonical_nan(float* y, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    if (y[i] != y[i]) y[i] = __builtin_nanf("");
  }
}

}  // namespace

void rows_to_tile(const float* rows, int count, int size, float* tile, int width) {
  if (count < width) {
    std::memset(tile, 0,
                sizeof(float) * static_cast<std::size_t>(size) *
                    static_cast<std::size_t>(width));
  }
  transpose(rows, count, size, size, tile, width);
}

void tile_to_rows(const float* tile, int count, int size, int width, float* rows) {
  transpose(tile, size, count, width, rows, size);
  canonical_nan(rows, static_cast<std::int64_t>(count) * size);
}

void copy_outputs(const float* y, int size, float* out) {
  std::memcpy(out, y, sizeof(float) * static_cast<std::size_t>(size));
  canonical_nan(out, size);
}

}  // namespace sparseagent
