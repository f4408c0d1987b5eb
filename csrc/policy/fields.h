// What the readers of a policy file have in common: values of JSON as what they must
// be, arrays that a program keeps.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/check.h"
#include "core/kernel.h"
#include "policy/json.h"
#include "policy/tensors.h"

namespace sparseagent {

using Memory = std::vector<std::shared_ptr<const void>>;

constexpr std::size_t kMostAxes = 32;  // that every NumPy can give an array

[[noreturn]] inline void refuse(const std::string& what) {
  throw std::invalid_argument(what);
}

inline std::int32_t whole(const Json& spec, const char* key, std::int64_t low,
                          std::int64_t high) {
  return static_cast<std::int32_t>(spec.at(key).whole(key, low, high));
}

// A number as the float32 that it becomes.
inline float single(const char* what, double value) {
  const auto number = static_cast<float>(value);
  if (!std::isfinite(number)) refuse(std::string(what) + ": expected a finite float32");
  return number;
}

// The number of `name` in a list of names.
template <typename Names>
int numbered(const char* what, const std::string& name, const Names& names) {
  std::string known;
  int number = 0;
  for (const auto& each : names) {
    if (name == each) return number;
    known += (number++ > 0 ? ", " : "") + std::string(each);
  }
  refuse(std::string(what) + ": expected one of " + known + ", got '" +
         name.substr(0, 32) + "'");
}

template <typename T>
const T* keep(std::vector<T> numbers, Memory* memory) {
  const auto kept = std::make_shared<const std::vector<T>>(std::move(numbers));
  memory->push_back(kept);
  return kept->data();
}

// Finite numbers, with room for whole vectors behind them.
inline const float* finite_floats(const TensorFile& file, const std::string& name,
                                  const std::vector<std::int64_t>& shape,
                                  Memory* memory) {
  std::vector<float> numbers = file.floats(name, shape);
  if (!all_finite(numbers.data(), static_cast<std::int64_t>(numbers.size()))) {
    refuse(name + ": expected finite numbers");
  }
  numbers.resize(numbers.size() + kWidthPadding);
  return keep(std::move(numbers), memory);
}

}  // namespace sparseagent
