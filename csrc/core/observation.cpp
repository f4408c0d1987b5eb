#include "core/observation.h"

#include <cmath>
#include <sstream>
#include <stdexcept>
#include <string>

namespace sparseagent {
namespace {

// A NumPy bool is any byte, 0 for false. A C++ bool of another byte than 0 and 1 is
// undefined.
struct Boolean {
  std::uint8_t byte;
  operator float() const { return byte != 0 ? 1.0f : 0.0f; }
};

template <typename T>
void cast(const T* x, std::int64_t count, float* z) {
  for (std::int64_t i = 0; i < count; ++i) z[i] = static_cast<float>(x[i]);
}

template <typename T>
void normalise(const ObservationStep& step, const T* x, float* z) {
  const bool shifts = !step.shift.empty();
  const bool scales = !step.scale.empty();
  for (std::int32_t i = 0; i < step.size; ++i) {
    double value = static_cast<double>(x[i]);
    if (shifts) value -= step.shift[static_cast<std::size_t>(i)];
    if (scales) value /= step.scale[static_cast<std::size_t>(i)];
    value = value < step.low ? step.low : value;  // a NaN passes both comparisons
    value = value > step.high ? step.high : value;
    z[i] = static_cast<float>(value);
  }
}

template <typename T>
void apply_rows(const ObservationStep& step, const void* data, std::int64_t first,
                std::int64_t count, float* rows) {
  const T* x = static_cast<const T*>(data) + first * step.size;
  if (step.identity()) return cast(x, count * step.size, rows);
  for (std::int64_t b = 0; b < count; ++b) {
    normalise(step, x + b * step.size, rows + b * step.size);
  }
}

void check_part(const char* name, const std::vector<double>& part, std::int32_t size) {
  if (part.empty()) return;
  if (part.size() != static_cast<std::size_t>(size)) {
    throw std::invalid_argument(std::string(name) + ": expected " +
                                std::to_string(size) + " numbers, got " +
                                std::to_string(part.size()));
  }
  for (const double v : part) {
    if (std::isfinite(v)) continue;
    throw std::invalid_argument(std::string(name) +
                                ": expected finite numbers, got Inf or NaN");
  }
}

}  // namespace

void ObservationStep::check() const {
  check_part("shift", shift, size);
  check_part("scale", scale, size);
  for (const double v : scale) {
    if (v > 0) continue;
    throw std::invalid_argument("scale: expected positive numbers, got 0 or less");
  }
  if (low < high) return;  // no NaN passes
  std::ostringstream text;
  text << "low, high: expected low < high, got " << low << " and " << high;
  throw std::invalid_argument(text.str());
}

bool ObservationStep::identity() const {
  return shift.empty() && scale.empty() && std::isinf(low) && std::isinf(high);
}

void ObservationStep::apply(Observations observations, std::int64_t first,
                            std::int64_t count, float* rows) const {
  const void* data = observations.data;
  switch (observations.dtype) {
    case DType::float32: return apply_rows<float>(*this, data, first, count, rows);
    case DType::float64: return apply_rows<double>(*this, data, first, count, rows);
    case DType::uint8: return apply_rows<std::uint8_t>(*this, data, first, count, rows);
    case DType::int8: return apply_rows<std::int8_t>(*this, data, first, count, rows);
    case DType::int32: return apply_rows<std::int32_t>(*this, data, first, count, rows);
    case DType::int64: return apply_rows<std::int64_t>(*this, data, first, count, rows);
    case DType::boolean: return apply_rows<Boolean>(*this, data, first, count, rows);
  }
}

}  // namespace sparseagent
