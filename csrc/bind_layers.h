// The layers of a policy as they cross the border. Part of the files that define a
// module, which alone include it.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/layer.h"

namespace py = pybind11;

namespace {

using namespace sparseagent;

using IntArray = py::array_t<std::int32_t, py::array::c_style>;
using FloatArray = py::array_t<float, py::array::c_style>;

// One layer's arrays, kept alive while a plan is built from them. A dense layer comes
// without indptr and indices.
struct LayerArrays {
  std::int32_t out;
  std::int32_t in;
  std::int32_t runs;
  std::optional<IntArray> indptr;
  std::optional<IntArray> indices;
  FloatArray values;
  FloatArray bias;
  Activation activation;
  float alpha;

  LayerView view() const {
    // First of all: the last offset lies at a place that these say.
    if (out < 1 || in < 1 || runs < 1) {
      throw std::invalid_argument("layers: expected positive sizes, got " +
                                  std::to_string(out) + " x " + std::to_string(in) +
                                  " and " + std::to_string(runs) + " runs");
    }
    const std::int64_t most = kMaxNonzeros;
    if (static_cast<std::int64_t>(out) * in > most) {
      throw std::invalid_argument("layers: expected at most " + std::to_string(most) +
                                  " weights, got " + std::to_string(out) + " x " +
                                  std::to_string(in));
    }
    const std::int64_t chains = static_cast<std::int64_t>(out) * runs;
    const bool dense = !indptr && !indices;
    const bool fits =
        dense ? runs == 1 && values.size() == static_cast<std::int64_t>(out) * in
              : indptr && indices && indptr->size() == chains + 1 &&
                    indices->size() == values.size() &&
                    indptr->data()[chains] == indices->size();
    if (bias.size() != out || !fits) {
      throw std::invalid_argument("layers: expected arrays that fit the layer's shape");
    }
    return {out,
            in,
            runs,
            dense ? nullptr : indptr->data(),
            dense ? nullptr : indices->data(),
            values.data(),
            bias.data(),
            activation,
            alpha};
  }
};

Activation activation_of(const std::string& name) {
  for (int i = 0; i < kActivationCount; ++i) {
    if (name == kActivations[i].name) return static_cast<Activation>(i);
  }
  throw std::invalid_argument("activation: unknown '" + name + "'");
}

// (out, in, runs, indptr or None, indices or None, values, bias, activation, alpha)
constexpr const char* kFields[] = {"out",    "in",   "runs",       "indptr", "indices",
                                   "values", "bias", "activation", "alpha"};

// One layer as Python gives it; what is of the wrong type is a TypeError that names it.
class LayerTuple {
 public:
  LayerTuple(const py::handle& given, std::size_t number) : number_(number) {
    const std::string wanted =
        "expected a tuple of " + std::to_string(kSize) + ", got ";
    if (!py::isinstance<py::tuple>(given)) refuse(wanted + type_of(given));
    fields_ = py::reinterpret_borrow<py::tuple>(given);
    if (fields_.size() != kSize) {
      refuse(wanted + std::to_string(fields_.size()) + " entries");
    }
  }

  LayerArrays arrays() const {
    return {integer(0),
            integer(1),
            integer(2),
            indices(3),
            indices(4),
            floats(5),
            floats(6),
            activation_of(field<std::string>(7, "a str")),
            field<float>(8, "a number")};
  }

 private:
  static constexpr std::size_t kSize = std::size(kFields);

  static std::string type_of(const py::handle& given) {
    return Py_TYPE(given.ptr())->tp_name;
  }

  [[noreturn]] void refuse(const std::string& what) const {
    throw py::type_error("layers[" + std::to_string(number_) + "]: " + what);
  }

  template <typename T>
  T field(std::size_t at, const char* wanted) const {
    try {
      return fields_[at].cast<T>();
    } catch (const py::cast_error&) {
      refuse(std::string(kFields[at]) + ": expected " + wanted + ", got " +
             type_of(fields_[at]));
    }
  }

  std::int32_t integer(std::size_t at) const {
    return field<std::int32_t>(at, "an int32");
  }

  template <typename Array>
  Array array(std::size_t at, const char* wanted) const {
    Array made = Array::ensure(fields_[at]);
    if (!made) {
      refuse(std::string(kFields[at]) + ": expected " + wanted + ", got " +
             type_of(fields_[at]));
    }
    return made;
  }

  FloatArray floats(std::size_t at) const {
    return array<FloatArray>(at, "a float32 array");
  }

  std::optional<IntArray> indices(std::size_t at) const {
    if (fields_[at].is_none()) return std::nullopt;
    return array<IntArray>(at, "an int32 array");
  }

  std::size_t number_;
  py::tuple fields_;
};

std::vector<LayerArrays> layers_of(const py::sequence& given) {
  // Other sequences may say anything of themselves.
  if (!PyList_Check(given.ptr()) && !PyTuple_Check(given.ptr())) {
    throw py::type_error(std::string("layers: expected a list or a tuple, got ") +
                         Py_TYPE(given.ptr())->tp_name);
  }
  std::vector<LayerArrays> layers;
  for (const py::handle item : given) {
    layers.push_back(LayerTuple(item, layers.size()).arrays());
  }
  return layers;
}

std::vector<LayerView> views_of(const std::vector<LayerArrays>& layers) {
  std::vector<LayerView> views;
  for (const LayerArrays& layer : layers) views.push_back(layer.view());
  return views;
}

}  // namespace
