// The Plan as Python sees it. Part of bind.cpp, which alone includes it.
//
// The hot call takes `const py::array&` and checks it here: about 80 ns, where
// pybind11's own conversion would cost several hundred and could copy silently.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "bind_arrays.h"
#include "bind_lock.h"
#include "core/plan.h"
#include "core/stopwatch.h"

namespace {

// Calls shorter than this keep the interpreter's lock: giving it up and taking it back
// costs more.
constexpr double kReleaseNs = 50e3;

// Long calls are cut into slices of about this time; between them signals are seen to.
constexpr double kSliceNs = 20e6;

// Calls of a prefetch: the first fetches, the second teaches the branch predictors.
constexpr int kWarmUps = 2;

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
    Plan::Options options{
        isa, format, threads, tune, {std::move(formats), std::move(ns)}};
    {
      Unlocked unlocked;
      options.checkpoint = [&] { unlocked.check_signals(); };
      plan_ =
          std::make_unique<Plan>(views, std::move(step), std::move(action), options);
    }
    ones_ = FloatArray(plan_->input_size());
    // Not zeros: a kernel that skips them would leave its weights where they are.
    std::fill_n(ones_.mutable_data(), ones_.size(), 1.0f);
    out_ = FloatArray(plan_->output_size());
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
    const py::array given = contiguous(observation);
    const Observations data = {given.data(), dtype_of(given)};
    bool single = false;
    const std::int64_t batch = observation_batch(given, &single);
    const auto count = static_cast<std::size_t>(batch * plan_->output_size());
    std::vector<py::ssize_t> shape = action_shape_;
    if (!single) shape.insert(shape.begin(), batch);
    const Head& head = plan_->head();
    const std::int32_t out = plan_->output_size();
    if (head.discrete()) {
      std::vector<float> outputs(count);
      py::array_t<std::int64_t> actions(shape);
      std::int64_t* to = actions.mutable_data();
      run(batch, [&](std::int64_t first, std::int64_t rows) {
        float* y = outputs.data() + first * out;
        plan_->forward(from(data, first), rows, y);
        head.apply(y, rows, out, to + first);
      });
      return py::make_tuple(std::move(actions), state);
    }
    FloatArray actions(shape);
    float* to = actions.mutable_data();
    run(batch, [&](std::int64_t first, std::int64_t rows) {
      float* y = to + first * out;
      plan_->forward(from(data, first), rows, y);
      head.apply(y, rows, out, y);
    });
    return py::make_tuple(std::move(actions), state);
  }

  // Calls `self`, the plan's own object, as Python would, with arrays of its own: what
  // a call reads is then close to the core, code and branch predictors included. Nobody
  // reads the outputs, but no two threads may write them at once.
  void prefetch(PyObject* self) const {
    plan_->fetch_weights();
    if (warming_.test_and_set(std::memory_order_acquire)) {
      thread_local Buffer outputs;
      const std::size_t bytes = sizeof(float) * static_cast<std::size_t>(out_.size());
      if (outputs.bytes() < bytes) outputs = Buffer(bytes);
      run({ones_.data(), DType::float32}, 1, outputs.floats());
      return;
    }
    PyObject* const arguments[] = {ones_.ptr(), out_.ptr()};
    for (int i = 0; i < kWarmUps; ++i) {
      PyObject* none = PyObject_Vectorcall(self, arguments, 2, nullptr);
      if (none == nullptr) break;
      Py_DECREF(none);
    }
    warming_.clear(std::memory_order_release);
    if (PyErr_Occurred() != nullptr) throw py::error_already_set();
  }

  // Time of each of `calls` forwards, measured around the C++ call alone; of a long one
  // around each of its slices.
  DoubleArray time(const py::array& observations, py::ssize_t calls) const {
    const std::int64_t batch = check_observations(observations);
    if (calls < 1) throw std::invalid_argument("calls: expected 1 or more");
    DoubleArray ns(calls);
    double* taken = ns.mutable_data();
    std::vector<float> outputs(static_cast<std::size_t>(batch * plan_->output_size()));
    const Observations data = {observations.data(), DType::float32};
    Unlocked unlocked;
    for (py::ssize_t i = 0; i < calls; ++i) {
      taken[i] = 0;
      in_slices(batch, &unlocked, [&](std::int64_t first, std::int64_t rows) {
        float* y = outputs.data() + first * plan_->output_size();
        const double start = clock_ns();
        plan_->forward(from(data, first), rows, y);
        taken[i] += clock_ns() - start;
      });
      unlocked.check_signals();
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

  // The rows from `first` on.
  Observations from(Observations observations, std::int64_t first) const {
    const std::int64_t bytes = plan_->input_size() * bytes_of(observations.dtype);
    return {static_cast<const char*>(observations.data) + first * bytes,
            observations.dtype};
  }

  void run(Observations observations, std::int64_t batch, float* out) const {
    run(batch, [&](std::int64_t first, std::int64_t rows) {
      plan_->forward(from(observations, first), rows,
                     out + first * plan_->output_size());
    });
  }

  // work(first, rows) for the rows [0, batch), in order.
  template <typename Work>
  void run(std::int64_t batch, const Work& work) const {
    if (plan_->estimate_ns(batch) < kReleaseNs) return work(0, batch);
    Unlocked unlocked;
    in_slices(batch, &unlocked, work);
  }

  // Slices start short, as the plan's estimate may be wrong, and come in whole tiles.
  template <typename Work>
  void in_slices(std::int64_t batch, Unlocked* unlocked, const Work& work) const {
    const double total = plan_->estimate_ns(batch);
    if (total < kSliceNs) return work(0, batch);
    const std::int64_t unit = plan_->network().extent().columns;
    double slice = static_cast<double>(batch) * (kSliceNs / 4) / total;
    for (std::int64_t first = 0; first < batch;) {
      const auto wanted = static_cast<std::int64_t>(slice) / unit * unit;
      const std::int64_t rows = std::min(std::max(wanted, unit), batch - first);
      const double start = clock_ns();
      work(first, rows);
      const double taken = clock_ns() - start;
      slice = static_cast<double>(rows) * std::clamp(kSliceNs / taken, 0.1, 2.0);
      first += rows;
      unlocked->check_signals();
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
      // Not by memcmp: an array without axes may have no shape to point to.
      if (!std::equal(shape->begin(), shape->end(), given.shape() + extra)) continue;
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
  // Arguments of the calls that prefetch() makes.
  FloatArray ones_;
  FloatArray out_;
  mutable std::atomic_flag warming_ = ATOMIC_FLAG_INIT;  // a thread is making them
};

// The plan behind an object that Python calls a Plan.
const PyPlan* plan_of(PyObject* self) {
  const auto* holder = reinterpret_cast<const py::detail::instance*>(self);
  if (holder->simple_layout) {
    return static_cast<const PyPlan*>(holder->simple_value_holder[0]);
  }
  return py::handle(self).cast<const PyPlan*>();  // beside another extension's class
}

constexpr py::ssize_t kPlanArguments = 17;

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
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
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
  constexpr std::int64_t kMost = 1 << 24;
  if (batch < 0 || batch > kMost) {
    throw std::invalid_argument("batch: expected 0 to " + std::to_string(kMost) +
                                ", got " + std::to_string(batch));
  }
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
