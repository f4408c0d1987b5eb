// What of a Plan Python calls without pybind11 between: construction, the call itself,
// predict. Part of bind.cpp, which alone includes it.
#pragma once

#include <algorithm>
#include <new>
#include <stdexcept>
#include <string>

#include "bind_plan.h"

namespace {

// The plan behind an object that Python calls a Plan.
const PyPlan* plan_of(PyObject* self) {
  const auto* holder = reinterpret_cast<const py::detail::instance*>(self);
  if (holder->simple_layout) {
    return static_cast<const PyPlan*>(holder->simple_value_holder[0]);
  }
  return py::handle(self).cast<const PyPlan*>();  // beside another extension's class
}

constexpr py::ssize_t kPlanArguments = 7;

// `__new__` runs the constructor: an object has a plan behind it, or there is none,
// whatever a copier, a subclass or a failing `__init__` does. So no method has to look.
// `__init__` then finds the work done.
PyObject* new_slot(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  const Py_ssize_t given = PyTuple_GET_SIZE(args);
  const bool named = kwargs != nullptr && PyDict_GET_SIZE(kwargs) > 0;
  try {
    if (given != kPlanArguments || named) {
      throw py::type_error("Plan: expected compile() to make it, got " +
                           std::to_string(given) + " positional arguments" +
                           (named ? " and named ones" : ""));
    }
    auto self = py::reinterpret_steal<py::object>(py::detail::make_new_instance(type));
    if (!self) return nullptr;
    const py::object init = py::type::of<PyPlan>().attr("__init__");
    init(self, *py::reinterpret_borrow<py::args>(args));
    if (plan_of(self.ptr()) == nullptr) {
      throw py::type_error("Plan: expected its own __init__, got another one");
    }
    return self.release().ptr();
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  }
  return nullptr;
}

// What was thrown, as Python's error.
PyObject* raised() {
  try {
    throw;
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

// act(observations[, out]) as the type's own slot: no overloads to resolve, no argument
// to convert. Arguments may be named too.
PyObject* call_slot(PyObject* self, PyObject* args, PyObject* kwargs) {
  static const char* names[] = {"observations", "out", nullptr};
  PyObject* observations = nullptr;
  PyObject* out = nullptr;
  const Py_ssize_t given = PyTuple_GET_SIZE(args);
  if (kwargs == nullptr && (given == 1 || given == 2)) {
    observations = PyTuple_GET_ITEM(args, 0);
    if (given == 2) out = PyTuple_GET_ITEM(args, 1);
  } else if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:Plan",
                                          const_cast<char**>(names), &observations,
                                          &out)) {
    return nullptr;
  }
  try {
    const PyPlan* plan = plan_of(self);
    if (py::isinstance<py::dict>(py::handle(observations)) && out == nullptr) {
      const auto given = py::reinterpret_borrow<py::object>(observations);
      return plan->first_output(given).release().ptr();
    }
    const auto& x = require_array("observations", &observations);
    if (out == nullptr || out == Py_None) return (*plan)(x).release().ptr();
    plan->into(x, require_array("out", &out));
    Py_RETURN_NONE;
  } catch (...) {
    return raised();
  }
}

// predict(...) as a method of the type: pybind11 would make a string of every
// argument's name whenever one is given by name, as Stable-Baselines3 does.
constexpr const char* kPredictNames[] = {
    "observation",  "state", "episode_start", "deterministic",
    "action_masks", "seed",  "step",          "rows"};
constexpr Py_ssize_t kPredictCount = 8;
constexpr Py_ssize_t kPredictPositional = 5;

// The place of an argument's name; names in calls are interned, as these are.
Py_ssize_t place_of(PyObject* name) {
  static PyObject* const* const known = [] {
    static PyObject* names[kPredictCount];
    for (Py_ssize_t i = 0; i < kPredictCount; ++i) {
      names[i] = PyUnicode_InternFromString(kPredictNames[i]);
    }
    return names;
  }();
  for (Py_ssize_t i = 0; i < kPredictCount; ++i) {
    if (name == known[i]) return i;
  }
  for (Py_ssize_t i = 0; i < kPredictCount; ++i) {
    if (PyUnicode_Compare(name, known[i]) == 0) return i;
  }
  throw py::type_error("predict: unexpected argument " +
                       py::repr(name).cast<std::string>());
}

PyObject* predict_method(PyObject* self, PyObject* const* args, Py_ssize_t given,
                         PyObject* names) {
  try {
    PyObject* at[kPredictCount] = {};
    if (given > kPredictPositional) {
      throw py::type_error("predict: expected at most " +
                           std::to_string(kPredictPositional) +
                           " arguments by position, got " + std::to_string(given));
    }
    std::copy_n(args, given, at);
    for (Py_ssize_t i = 0; names != nullptr && i < PyTuple_GET_SIZE(names); ++i) {
      const Py_ssize_t place = place_of(PyTuple_GET_ITEM(names, i));
      if (at[place] != nullptr) {
        throw py::type_error(std::string("predict: got ") + kPredictNames[place] +
                             " twice");
      }
      at[place] = args[given + i];
    }
    if (at[0] == nullptr) throw py::type_error("predict: expected an observation");
    const auto object = [&](int place) {
      return py::reinterpret_borrow<py::object>(at[place] != nullptr ? at[place]
                                                                     : Py_None);
    };
    const int truth = at[3] == nullptr ? 1 : PyObject_IsTrue(at[3]);
    if (truth < 0) throw py::error_already_set();
    const py::object masks = object(4);
    const py::object seed = object(5);
    const py::object step = object(6);
    const py::object rows = object(7);
    return plan_of(self)
        ->predict(object(0), object(1), object(2),
                  {truth == 1, masks, seed, step, rows})
        .release()
        .ptr();
  } catch (...) {
    return raised();
  }
}

PyMethodDef kMethods[] = {
    {"predict",
     reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(predict_method)),
     METH_FASTCALL | METH_KEYWORDS,
     "predict(observation, state=None, episode_start=None, deterministic=True, "
     "action_masks=None, *, seed=None, step=None, rows=None)"},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace
