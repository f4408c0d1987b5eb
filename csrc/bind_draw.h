// How Python says what to draw. Part of the files that define a module, which alone
// include it.
#pragma once

#include <pybind11/pybind11.h>
#include <unistd.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "core/head.h"

namespace py = pybind11;

namespace {

using namespace sparseagent;

std::uint64_t counter_of(const char* name, const py::object& given) {
  const py::object number =
      py::reinterpret_steal<py::object>(PyNumber_Index(given.ptr()));
  const unsigned long long value =
      number ? PyLong_AsUnsignedLongLong(number.ptr()) : ~0ull;
  if (PyErr_Occurred() == nullptr) return value;
  const bool other = PyErr_ExceptionMatches(PyExc_TypeError) != 0 && !number;
  PyErr_Clear();
  const std::string text = std::string(name) + ": expected an int from 0 to 2^64 - 1";
  if (other) throw py::type_error(text + ", got " + Py_TYPE(given.ptr())->tp_name);
  throw std::invalid_argument(text + ", got " + py::str(given).cast<std::string>());
}

// What only the operating system knows, so that no two calls, threads or forked
// processes draw the same.
std::uint64_t fresh_seed() {
  std::uint64_t seed = 0;
  if (getentropy(&seed, sizeof seed) != 0) {
    throw std::runtime_error("seed: the operating system gives no random numbers");
  }
  return seed;
}

// Both, or neither for numbers unlike any other call's.
Draw draw_of(const py::object& seed, const py::object& step) {
  if (seed.is_none() != step.is_none()) {
    throw std::invalid_argument(
        "seed, step: expected both, as one seed gives the same numbers at the same "
        "step, "
        "or neither; Sampler counts the steps");
  }
  if (!seed.is_none()) {
    return {counter_of("seed", seed), counter_of("step", step)};
  }
  return {fresh_seed(), 0};
}

}  // namespace
