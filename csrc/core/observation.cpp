#include "core/observation.h"

#include <cmath>
#include <cstddef>
#include <sstream>
#include <stdexcept>
#include <string>

#include "core/layer.h"

namespace sparseagent {
namespace {

// A NumPy bool is any byte, 0 for false. A C++ bool of another byte than 0 and 1 is
// undefined.
struct Boolean {
  std::uint8_t byte;
  operator float() const { return byte != 0 ? 1.0f : 0.0f; }
  explicit operator double() const { return byte != 0 ? 1.0 : 0.0; }
};

template <typename T>
void cast(const T* x, std::int64_t count, float* z) {
  for (std::int64_t i = 0; i < count; ++i) z[i] = static_cast<float>(x[i]);
}

template <typename T>
void gather(const ObservationStep& step, const T* x, float* z) {
  for (const std::int32_t column : step.columns) *z++ = static_cast<float>(x[column]);
}

// In `Real`, double or float: libraries normalise in one or the other.
template <typename Real, typename T>
void normalise(const ObservationStep& step, const T* x, float* z) {
  const bool shifts = !step.shift.empty();
  const bool scales = !step.scale.empty();
  const std::size_t next = step.scale.size() > 1 ? 1 : 0;
  const Real low = static_cast<Real>(step.low);
  const Real high = static_cast<Real>(step.high);
  const std::int32_t count = step.features();
  const std::int32_t* columns = step.columns.empty() ? nullptr : step.columns.data();
  for (std::int32_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    Real value = static_cast<Real>(x[columns != nullptr ? columns[i] : i]);
    if (shifts) value -= static_cast<Real>(step.shift[at]);
    if (scales) value /= static_cast<Real>(step.scale[at * next]);
    value = value < low ? low : value;  // a NaN passes both comparisons
    value = value > high ? high : value;
    z[i] = static_cast<float>(value);
  }
}

// A number that names no category makes its features NaN, and with them the outputs.
template <typename T>
void one_hot(const ObservationStep& step, const T* x, float* z) {
  for (const std::int32_t count : step.categories) {
    const auto named = static_cast<double>(*x++);
    const bool known = named >= 0 && named < count && named == std::floor(named);
    for (std::int32_t i = 0; i < count; ++i) {
      z[i] = !known ? std::nanf("") : named == i ? 1.0f : 0.0f;
    }
    z += count;
  }
}

template <typename T>
void apply_rows(const ObservationStep& step, const void* data, std::int64_t first,
                std::int64_t count, float* rows) {
  const T* x = static_cast<const T*>(data) + first * step.size;
  if (step.identity()) return cast(x, count * step.size, rows);
  const std::int64_t features = step.features();
  for (std::int64_t b = 0; b < count; ++b, x += step.size, rows += features) {
    if (!step.categories.empty()) {
      one_hot(step, x, rows);
    } else if (step.only_casts()) {
      gather(step, x, rows);
    } else if (step.single) {
      normalise<float>(step, x, rows);
    } else {
      normalise<double>(step, x, rows);
    }
  }
}

[[noreturn]] void refuse(const char* name, const std::string& what) {
  throw std::invalid_argument(std::string(name) + ": expected " + what);
}

void check_part(const char* name, const std::vector<double>& part, std::int32_t size,
                bool single) {
  if (part.empty()) return;
  if (part.size() != static_cast<std::size_t>(size)) {
    refuse(name, std::to_string(size) + " numbers, got " + std::to_string(part.size()));
  }
  for (const double v : part) {
    if (single ? std::isfinite(static_cast<float>(v)) : std::isfinite(v)) continue;
    refuse(name, "finite numbers, got Inf or NaN");
  }
}

void check_columns(const ObservationStep& step) {
  std::int32_t next = 0;
  for (const std::int32_t column : step.columns) {
    if (column < next || column >= step.size) refuse("columns", "to rise within a row");
    next = column + 1;
  }
  if (!step.columns.empty() && !step.categories.empty()) {
    refuse("columns", "none beside categories");
  }
}

void check_categories(const ObservationStep& step) {
  std::int64_t features = 0;
  for (const std::int32_t count : step.categories) {
    if (count < 1) refuse("categories", "positive counts");
    features += count;
  }
  const bool plain = step.shift.empty() && step.scale.empty() && std::isinf(step.low) &&
                     std::isinf(step.high);
  if (step.categories.size() != static_cast<std::size_t>(step.size) ||
      features > kMaxWidth || !plain) {
    refuse("categories", "one count for each number, and no other step beside them");
  }
}

}  // namespace

std::int32_t ObservationStep::features() const {
  if (!columns.empty()) return static_cast<std::int32_t>(columns.size());
  std::int32_t sum = 0;
  for (const std::int32_t count : categories) sum += count;
  return categories.empty() ? size : sum;
}

void ObservationStep::check() const {
  if (size < 1 || size > kMaxWidth) refuse("shape", "1 to 2^20 numbers");
  check_columns(*this);
  const std::int32_t count = columns.empty() ? size : features();
  check_part("shift", shift, count, single);
  check_part("scale", scale, scale.size() == 1 ? 1 : count, single);
  for (const double v : scale) {
    if (single ? static_cast<float>(v) > 0 : v > 0) continue;
    refuse("scale", "positive numbers, got 0 or less");
  }
  if (!(low < high)) {  // or one is NaN
    std::ostringstream text;
    text << "low < high, got " << low << " and " << high;
    refuse("low, high", text.str());
  }
  if (!categories.empty()) check_categories(*this);
}

bool ObservationStep::only_casts() const {
  return shift.empty() && scale.empty() && std::isinf(low) && std::isinf(high) &&
         categories.empty();
}

bool ObservationStep::identity() const { return only_casts() && columns.empty(); }

void ObservationStep::apply(Observations observations, std::int64_t first,
                            std::int64_t count, float* rows,
                            const Transposes* transposes) const {
  const void* data = observations.data;
  const bool wide = observations.dtype == DType::float64;
  const bool floats = wide || observations.dtype == DType::float32;
  const auto all = static_cast<std::size_t>(size);
  const bool each = shift.size() == all && scale.size() == all && columns.empty();
  if (transposes != nullptr && floats && each) {
    const Normaliser step = {size, shift.data(), scale.data(), low, high, single};
    const std::int64_t bytes = size * bytes_of(observations.dtype);
    for (std::int64_t row = first; row < first + count; ++row, rows += size) {
      transposes->normalise(step, static_cast<const char*>(data) + row * bytes, wide,
                            rows);
    }
    return;
  }
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
