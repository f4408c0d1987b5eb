// The observation step: z = float(clip((x - shift) / scale, low, high)), in double or
// in float; or one-hot rows. Where the network reads a part of an observation, only
// that is taken.
#pragma once

#include <cstdint>
#include <vector>

#include "core/kernel.h"

namespace sparseagent {

enum class DType : std::int32_t {
  float32,
  float64,
  uint8,
  int8,
  int32,
  int64,
  boolean
};

constexpr std::int64_t bytes_of(DType dtype) {
  switch (dtype) {
    case DType::float64:
    case DType::int64: return 8;
    case DType::float32:
    case DType::int32: return 4;
    default: return 1;
  }
}

// Observations as the caller holds them: row-major [B, size].
struct Observations {
  const void* data;
  DType dtype;
};

struct ObservationStep {
  std::int32_t size = 0;
  std::vector<double> shift;  // [features], or empty for 0
  std::vector<double> scale;  // [features], one for all, or empty for 1
  double low = 0;             // clip bounds; -inf and inf for none
  double high = 0;
  bool single = false;                   // in float, not in double
  std::vector<std::int32_t> categories;  // [size], of each number; empty: no one-hot
  std::vector<std::int32_t> columns;     // the numbers that are taken; empty: all

  // Numbers that the network sees of an observation.
  std::int32_t features() const;

  // Throws std::invalid_argument unless every number is one that Python lets through.
  void check() const;

  // Nothing but a cast to float of what is taken.
  bool only_casts() const;

  // Nothing but a cast of all numbers to float.
  bool identity() const;

  // Rows [first, first + count) of `observations`, as the network takes them: rows
  // [count, features]. `transposes`, if not null, does what it can on its instruction
  // set; the same bits.
  void apply(Observations observations, std::int64_t first, std::int64_t count,
             float* rows, const Transposes* transposes = nullptr) const;
};

}  // namespace sparseagent
