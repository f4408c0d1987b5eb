// The Plan as Python sees it. Part of bind.cpp, which alone includes it.
//
// The hot call takes `const py::array&` and checks it here: about 80 ns, where
// pybind11's own conversion would cost several hundred and could copy silently.
#pragma once

#include <chrono>
#include <cstring>
#include <memory>
#include <utility>

#include "bind_arrays.h"
#include "core/float_mode.h"
#include "core/plan.h"

namespace {

// Calls shorter than this keep the interpreter's lock: giving it up and taking it back
// costs more.
constexpr double kReleaseNs = 50e3;

class PyPlan {
 public:
  PyPlan(const py::sequence& layers, std::int32_t observation_size,
         std::vector<py::ssize_t> observation_shape,
         const std::optional<DoubleArray>& shift,
         const std::optional<DoubleArray>& scale, double low, double high,
         const std::string& head, const std::optional<FloatArray>& head_low,
         const std::optional<FloatArray>& head_high,
         std::vector<py::ssize_t> action_shape, const std::string& isa,
         const std::string& format, int threads, double tune,
         std::vector<std::vector<std::string>> formats, std::vector<double> ns)
      : observation_shape_(std::move(observation_shape)),
        action_shape_(std::move(action_shape)) {
    const std::vector<LayerArrays> arrays = full_layers_of(layers);
    const std::vector<LayerView> views = views_of(arrays);
    ObservationStep step{observation_size, numbers(shift), numbers(scale), low, high};
    Head action{head_of(head), numbers(head_low), numbers(head_high)};
    const Plan::Options options{
        isa, format, threads, tune, {std::move(formats), std::move(ns)}};
    {
      const py::gil_scoped_release release;
      plan_ =
          std::make_unique<Plan>(views, std::move(step), std::move(action), options);
    }
    check_shape("observation_shape", observation_shape_, plan_->input_size());
    check_shape("action_shape", action_shape_,
                plan_->head().discrete() ? 1 : plan_->output_size());
  }

  const Plan& plan() const { return *plan_; }

  void update(const py::sequence& layers) {
    const std::vector<LayerArrays> arrays = layers_of(layers);
    plan_->update(views_of(arrays));
  }

  // act(observations, out): float32 only, nothing is converted, nothing is allocated.
  void into(const py::array& observations, const py::array& out) const {
    const std::int64_t batch = check_observations(observations);
    const bool single = observations.ndim() == 1;
    const bool shaped = out.ndim() == observations.ndim() &&
                        (single || out.shape(0) == batch) &&
                        out.shape(out.ndim() - 1) == plan_->output_size();
    if (!shaped || !is_float32(out) || !is_contiguous(out) || !out.writeable()) {
      throw std::invalid_argument("out: expected a writable C-contiguous float32 [" +
                                  (single ? "" : std::to_string(batch) + ", ") +
                                  std::to_string(plan_->output_size()) + "], got " +
                                  memory_text(out) +
                                  (out.writeable() ? "" : ", read-only"));
    }
    if (batch > 1) check_overlap(observations, out);
    // `out` was checked to be writeable; mutable_data() would check it again.
    run({observations.data(), DType::float32}, batch,
        static_cast<float*>(const_cast<void*>(out.data())));
  }

  py::array operator()(const py::array& observations) const {
    const std::int64_t batch = check_observations(observations);
    std::vector<py::ssize_t> shape = {plan_->output_size()};
    if (observations.ndim() == 2) shape.insert(shape.begin(), batch);
    FloatArray out(shape);
    run({observations.data(), DType::float32}, batch, out.mutable_data());
    return std::move(out);
  }

  // Stable-Baselines3's PolicyPredictor: any numeric type, one observation or a batch.
  py::tuple predict(const py::object& observation, const py::object& state,
                    const py::object&, bool deterministic) const {
    if (!deterministic) {
      throw std::invalid_argument(
          "deterministic: expected True, got False: the policy file holds no "
          "distribution to "
          "sample from");
    }
    const PlainFloats plain;  // for the head, too
    const py::array given = contiguous(observation);
    const Observations data = {given.data(), dtype_of(given)};
    bool single = false;
    const std::int64_t batch = observation_batch(given, &single);
    const auto count = static_cast<std::size_t>(batch * plan_->output_size());
    std::vector<py::ssize_t> shape = action_shape_;
    if (!single) shape.insert(shape.begin(), batch);
    const Head& head = plan_->head();
    if (head.discrete()) {
      std::vector<float> outputs(count);
      run(data, batch, outputs.data());
      py::array_t<std::int64_t> actions(shape);
      head.apply(outputs.data(), batch, plan_->output_size(), actions.mutable_data());
      return py::make_tuple(std::move(actions), state);
    }
    FloatArray actions(shape);
    run(data, batch, actions.mutable_data());
    head.apply(actions.data(), batch, plan_->output_size(), actions.mutable_data());
    return py::make_tuple(std::move(actions), state);
  }

  // Time of each of `calls` forwards, measured around the C++ call alone.
  DoubleArray time(const py::array& observations, py::ssize_t calls) const {
    const std::int64_t batch = check_observations(observations);
    if (calls < 1) throw std::invalid_argument("calls: expected 1 or more");
    DoubleArray ns(calls);
    std::vector<float> outputs(static_cast<std::size_t>(batch * plan_->output_size()));
    using Clock = std::chrono::steady_clock;
    for (py::ssize_t i = 0; i < calls; ++i) {
      const auto start = Clock::now();
      plan_->forward({observations.data(), DType::float32}, batch, outputs.data());
      const std::chrono::duration<double, std::nano> taken = Clock::now() - start;
      ns.mutable_data()[i] = taken.count();
    }
    return ns;
  }

 private:
  // predict reads and writes as many numbers as the shapes say.
  static void check_shape(const char* name, const std::vector<py::ssize_t>& shape,
                          py::ssize_t size) {
    py::ssize_t left = size;  // divided, as a product might overflow
    for (const py::ssize_t n : shape) left = n > 0 && left % n == 0 ? left / n : 0;
    if (left == 1) return;
    throw std::invalid_argument(
        std::string(name) + ": expected axes with the product " + std::to_string(size) +
        ", got " + axes_text(shape.data(), shape.size()));
  }

  // The outputs of a batch are written while other rows are still to be read, maybe by
  // another thread: they may only take the place of their own rows.
  void check_overlap(const py::array& observations, const py::array& out) const {
    const auto* x = static_cast<const float*>(observations.data());
    const auto* y = static_cast<const float*>(out.data());
    if (y + out.size() <= x || x + observations.size() <= y) return;
    if (x == y && plan_->input_size() == plan_->output_size()) return;
    throw std::invalid_argument(
        "out: expected memory apart from observations, or observations itself where "
        "the shapes are equal, got memory that overlaps them");
  }

  void run(Observations observations, std::int64_t batch, float* out) const {
    if (plan_->estimate_ns(batch) < kReleaseNs) {
      plan_->forward(observations, batch, out);
    } else {
      const py::gil_scoped_release release;
      plan_->forward(observations, batch, out);
    }
  }

  std::int64_t check_observations(const py::array& observations) const {
    const py::ssize_t axes = observations.ndim();
    if ((axes != 1 && axes != 2) ||
        observations.shape(axes - 1) != plan_->input_size() ||
        !is_float32(observations) || !is_contiguous(observations)) {
      const std::string in = std::to_string(plan_->input_size());
      throw std::invalid_argument("observations: expected a C-contiguous float32 [" +
                                  in + "] or [B, " + in + "], got " +
                                  memory_text(observations));
    }
    return axes == 1 ? 1 : observations.shape(0);
  }

  // [*shape] or [B, *shape], where `shape` is the environment's or the flat [in].
  std::int64_t observation_batch(const py::array& given, bool* single) const {
    const std::vector<py::ssize_t> flat = {plan_->input_size()};
    for (const auto* shape : {&observation_shape_, &flat}) {
      const auto axes = static_cast<py::ssize_t>(shape->size());
      const py::ssize_t extra = given.ndim() - axes;
      if (extra != 0 && extra != 1) continue;
      if (std::memcmp(given.shape() + extra, shape->data(),
                      sizeof(py::ssize_t) * shape->size())) {
        continue;
      }
      *single = extra == 0;
      return *single ? 1 : given.shape(0);
    }
    const std::string expected =
        axes_text(observation_shape_.data(), observation_shape_.size());
    throw std::invalid_argument("observation: expected " + expected + " or [B, " +
                                expected.substr(1) + ", got " + shape_text(given));
  }

  std::vector<py::ssize_t> observation_shape_;
  std::vector<py::ssize_t> action_shape_;
  std::unique_ptr<Plan> plan_;
};

// `__new__` alone, as a copier calls it, would give an object with no plan behind it.
PyObject* new_slot(PyTypeObject* type, PyObject* args, PyObject*) {
  if (PyTuple_GET_SIZE(args) > 0) return py::detail::make_new_instance(type);
  PyErr_SetString(PyExc_TypeError,
                  "Plan: expected compile() to make it, got no arguments");
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
    const auto* holder = reinterpret_cast<py::detail::instance*>(self);
    const auto* plan = static_cast<const PyPlan*>(holder->simple_value_holder[0]);
    if (plan == nullptr) {
      throw py::type_error(
          "Plan: expected compile() to make it, got one without a plan");
    }
    const auto& x = require_array("observations", &observations);
    if (out == nullptr || out == Py_None) return (*plan)(x).release().ptr();
    plan->into(x, require_array("out", &out));
    Py_RETURN_NONE;
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

// (layer, regime, format, [(format, ns or None, bytes)]) of every layer and regime.
py::list choices_of(const PyPlan& plan) {
  py::list rows;
  for (const Choice& choice : plan.plan().choices()) {
    py::list candidates;
    for (const auto& c : choice.candidates) {
      candidates.append(py::make_tuple(
          c.format, c.ns < 0 ? py::object(py::none()) : py::object(py::float_(c.ns)),
          c.bytes));
    }
    rows.append(
        py::make_tuple(choice.layer, choice.regime.name(), choice.format, candidates));
  }
  return rows;
}

// regime -> (observations, ns of the whole network).
py::dict costs_of(const PyPlan& plan) {
  const Network& network = plan.plan().network();
  py::dict costs;
  for (std::size_t r = 0; r < network.regimes().size(); ++r) {
    const Regime& regime = network.regimes()[r];
    costs[py::str(regime.name())] = py::make_tuple(regime.columns, network.ns()[r]);
  }
  return costs;
}

// The cuts of a batch: (regime, observations) in order.
py::list cuts_of(const PyPlan& plan, std::int64_t batch) {
  const Network& network = plan.plan().network();
  py::list cuts;
  while (batch > 0) {
    const Cut cut = network.cover().next(batch);
    const auto regime = static_cast<std::size_t>(cut.regime);
    cuts.append(py::make_tuple(network.regimes()[regime].name(), cut.count));
    batch -= cut.count;
  }
  return cuts;
}

}  // namespace
