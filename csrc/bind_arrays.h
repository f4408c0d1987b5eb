// The checks of an array argument. Part of bind.cpp, which alone includes it.
#pragma once

#include <stdexcept>
#include <string>

#include "bind_layers.h"
#include "core/head.h"
#include "core/observation.h"

namespace {

using WordArray = py::array_t<std::uint32_t, py::array::c_style | py::array::forcecast>;
using DoubleArray = py::array_t<double, py::array::c_style>;

std::string axes_text(const py::ssize_t* axes, std::size_t count) {
  std::string text = "[";
  for (std::size_t i = 0; i < count; ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(axes[i]);
  }
  return text + "]";
}

std::string shape_text(const py::array& array) {
  return py::str(array.dtype()).cast<std::string>() + " " +
         axes_text(array.shape(), static_cast<std::size_t>(array.ndim()));
}

// The argument as an array, without touching its reference count; py::array is one
// pointer.
const py::array& require_array(const char* name, PyObject* const* argument) {
  static_assert(sizeof(py::array) == sizeof(PyObject*));
  if (!py::isinstance<py::array>(py::handle(*argument))) {
    throw py::type_error(std::string(name) + ": expected a NumPy array, got " +
                         Py_TYPE(*argument)->tp_name);
  }
  return *reinterpret_cast<const py::array*>(argument);
}

bool is_float32(const py::array& array) {
  const PyObject* type = py::detail::array_proxy(array.ptr())->descr;
  const auto* descriptor = py::detail::array_descriptor_proxy(type);
  return descriptor->type_num == py::detail::npy_api::NPY_FLOAT_ &&
         descriptor->byteorder != '>';  // the other byte order has the same type number
}

bool is_c_style(const py::array& array) {
  return (array.flags() & py::array::c_style) != 0;
}

bool is_aligned(const py::array& array) {
  return (array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0;
}

bool is_contiguous(const py::array& array) {
  return is_c_style(array) && is_aligned(array);
}

// The shape, and what else may keep an array from being used where it lies.
std::string memory_text(const py::array& array) {
  return shape_text(array) + (is_c_style(array) ? "" : ", not C-contiguous") +
         (is_aligned(array) ? "" : ", misaligned");
}

// What predict is given, as an array; a copy where it must be.
py::array contiguous(const py::object& observation) {
  constexpr int kFlags = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  py::array array = py::array::ensure(observation, kFlags);
  if (!array) {
    PyErr_Clear();
    throw py::type_error("observation: expected a numeric array, got " +
                         py::str(py::type::of(observation)).cast<std::string>());
  }
  return array;
}

DType dtype_of(const py::array& array) {
  const py::dtype type = array.dtype();
  const char kind = type.kind();
  const auto size = type.itemsize();
  if (type.byteorder() != '>') {
    if (kind == 'f' && size == 4) return DType::float32;
    if (kind == 'f' && size == 8) return DType::float64;
    if (kind == 'u' && size == 1) return DType::uint8;
    if (kind == 'i' && size == 1) return DType::int8;
    if (kind == 'i' && size == 4) return DType::int32;
    if (kind == 'i' && size == 8) return DType::int64;
    if (kind == 'b') return DType::boolean;
  }
  throw py::type_error(
      "observation: expected float32, float64, uint8, int8, int32, int64 or "
      "bool, got " +
      shape_text(array));
}

}  // namespace
