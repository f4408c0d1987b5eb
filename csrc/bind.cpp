// The Python extension: the only file that includes pybind11.
//
// The hot call takes `const py::array&` and checks it here: about 80 ns, where
// pybind11's own conversion would cost several hundred and could copy silently.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/cpu.h"
#include "core/packer.h"
#include "core/plan.h"
#include "core/reference.h"

namespace py = pybind11;
using namespace sparseagent;

namespace {

using IntArray = py::array_t<std::int32_t, py::array::c_style>;
using FloatArray = py::array_t<float, py::array::c_style>;
using DoubleArray = py::array_t<double, py::array::c_style>;

// Calls shorter than this keep the interpreter's lock: giving it up and taking it back
// costs more.
constexpr double kReleaseNs = 50e3;

// ---- building
// -----------------------------------------------------------------------------------

// One layer's arrays, kept alive while a plan is built from them.
struct LayerArrays {
  std::int32_t out;
  std::int32_t in;
  std::int32_t runs;
  IntArray indptr;
  IntArray indices;
  FloatArray values;
  FloatArray bias;
  Activation activation;
  float alpha;

  LayerView view() const {
    const std::int64_t chains = static_cast<std::int64_t>(out) * runs;
    if (out < 1 || in < 1 || runs < 1 || indptr.size() != chains + 1 ||
        bias.size() != out || indices.size() != values.size() ||
        indptr.data()[chains] != indices.size()) {
      throw std::invalid_argument("layers: expected arrays that fit the layer's shape");
    }
    return {out,           in,          runs,       indptr.data(), indices.data(),
            values.data(), bias.data(), activation, alpha};
  }
};

Activation activation_of(const std::string& name) {
  const char* const names[] = {"identity",   "relu", "tanh", "sigmoid",  "elu",
                               "leaky_relu", "silu", "gelu", "gelu_tanh"};
  for (std::size_t i = 0; i < std::size(names); ++i) {
    if (name == names[i]) return static_cast<Activation>(i);
  }
  throw std::invalid_argument("activation: unknown '" + name + "'");
}

// (out, in, runs, indptr, indices, values, bias, activation, alpha)
std::vector<LayerArrays> layers_of(const py::sequence& given) {
  std::vector<LayerArrays> layers;
  for (const py::handle item : given) {
    const auto t = py::reinterpret_borrow<py::tuple>(item);
    layers.push_back({t[0].cast<std::int32_t>(), t[1].cast<std::int32_t>(),
                      t[2].cast<std::int32_t>(), t[3].cast<IntArray>(),
                      t[4].cast<IntArray>(), t[5].cast<FloatArray>(),
                      t[6].cast<FloatArray>(), activation_of(t[7].cast<std::string>()),
                      t[8].cast<float>()});
  }
  return layers;
}

std::vector<LayerView> views_of(const std::vector<LayerArrays>& layers) {
  std::vector<LayerView> views;
  for (const LayerArrays& layer : layers) views.push_back(layer.view());
  return views;
}

template <typename Array>
auto numbers(const std::optional<Array>& array) {
  using T = typename Array::value_type;
  return array ? std::vector<T>(array->data(), array->data() + array->size())
               : std::vector<T>();
}

Head::Kind head_of(const std::string& kind) {
  if (kind == "raw") return Head::Kind::raw;
  if (kind == "argmax") return Head::Kind::argmax;
  if (kind == "clip") return Head::Kind::clip;
  if (kind == "unscale") return Head::Kind::unscale;
  throw std::invalid_argument("head: unknown '" + kind + "'");
}

// ---- calling
// ------------------------------------------------------------------------------------

std::string shape_text(const py::array& array) {
  std::string text = py::str(array.dtype()).cast<std::string>() + " [";
  for (py::ssize_t i = 0; i < array.ndim(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(array.shape(i));
  }
  return text + "]";
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

bool is_contiguous(const py::array& array) {
  return (array.flags() & py::array::c_style) != 0 &&
         (array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0;
}

class PyPlan {
 public:
  PyPlan(const py::sequence& layers, std::int32_t observation_size,
         std::vector<py::ssize_t> observation_shape,
         const std::optional<DoubleArray>& shift,
         const std::optional<DoubleArray>& scale, double low, double high,
         const std::string& head, const std::optional<FloatArray>& head_low,
         const std::optional<FloatArray>& head_high,
         std::vector<py::ssize_t> action_shape, const std::string& isa,
         const std::string& format, int threads, double tune)
      : observation_shape_(std::move(observation_shape)),
        action_shape_(std::move(action_shape)) {
    const std::vector<LayerArrays> arrays = layers_of(layers);
    const std::vector<LayerView> views = views_of(arrays);
    ObservationStep step{observation_size, numbers(shift), numbers(scale), low, high};
    Head action{head_of(head), numbers(head_low), numbers(head_high)};
    const Plan::Options options{isa, format, threads, tune};
    const py::gil_scoped_release release;
    plan_ = std::make_unique<Plan>(views, std::move(step), std::move(action), options);
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
                                  shape_text(out));
    }
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
                                  shape_text(observations));
    }
    return axes == 1 ? 1 : observations.shape(0);
  }

  static py::array contiguous(const py::object& observation) {
    py::array array = py::array::ensure(observation, py::array::c_style);
    if (!array) {
      PyErr_Clear();
      throw py::type_error("observation: expected a numeric array, got " +
                           py::str(py::type::of(observation)).cast<std::string>());
    }
    return array;
  }

  static DType dtype_of(const py::array& array) {
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
    std::string expected;
    for (const py::ssize_t n : observation_shape_) {
      expected += (expected.empty() ? "" : ", ") + std::to_string(n);
    }
    throw std::invalid_argument("observation: expected [" + expected + "] or [B, " +
                                expected + "], got " + shape_text(given));
  }

  std::vector<py::ssize_t> observation_shape_;
  std::vector<py::ssize_t> action_shape_;
  std::unique_ptr<Plan> plan_;
};

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

// ---- facts
// --------------------------------------------------------------------------------------

py::list choices_of(const PyPlan& plan) {
  py::list rows;
  for (const Choice& choice : plan.plan().choices()) {
    py::list candidates;
    for (const auto& c : choice.candidates) {
      candidates.append(py::make_tuple(
          c.format, c.ns < 0 ? py::object(py::none()) : py::object(py::float_(c.ns)),
          c.bytes));
    }
    rows.append(py::make_tuple(choice.layer, choice.path == Path::one ? "one" : "tile",
                               choice.format, candidates));
  }
  return rows;
}

py::dict costs_of(const PyPlan& plan) {
  const Network& network = plan.plan().network();
  py::dict costs;
  costs["1"] = network.costs().one_ns;
  for (int v = 1; v <= kMaxTileVectors; ++v) {
    costs[py::str(std::to_string(v * network.lanes()))] =
        network.costs().tile_ns[v - 1];
  }
  return costs;
}

// name -> (runs here, needs, formats, lanes)
py::dict isas() {
  py::dict table;
  for (int i = 0; i < kIsaCount; ++i) {
    const Isa& isa = kIsas[i];
    py::list formats;
    for (int k = 0; k < isa.kernel_count; ++k) {
      const Kernel& kernel = *isa.kernels[k];
      if (kernel.has_one || kernel.has_tile) formats.append(kernel.format);
    }
    table[isa.name] =
        py::make_tuple(cpu_has(isa.needs), isa.needs, formats, isa.kernels[0]->lanes);
  }
  return table;
}

double measure_peak(const std::string& name) {
  const Isa& isa = choose_isa(name.c_str());
  const double flops = 2.0 * 12 * isa.kernels[0]->lanes;
  double best = 0;
  long iterations = 1000;
  volatile float sink = 0;
  for (int i = 0; i < 200; ++i) {
    const auto start = std::chrono::steady_clock::now();
    sink = isa.fma_loop(iterations);
    const std::chrono::duration<double, std::nano> ns =
        std::chrono::steady_clock::now() - start;
    best = std::max(best, flops * static_cast<double>(iterations) / ns.count());
    if (ns.count() < 50e3) iterations *= 2;
  }
  static_cast<void>(sink);
  return best;
}

// observations [B, in] float32, already prepared -> outputs [B, out], by the scalar
// reference.
FloatArray reference(const py::sequence& layers, const FloatArray& rows) {
  const std::vector<LayerArrays> arrays = layers_of(layers);
  const std::vector<LayerView> views = views_of(arrays);
  if (rows.ndim() != 2 || views.empty() || rows.shape(1) != views.front().in) {
    throw std::invalid_argument("observations: expected float32 [B, in], got " +
                                shape_text(rows));
  }
  check_layers(views, views.front().in);
  const py::ssize_t batch = rows.shape(0);
  FloatArray outputs({batch, static_cast<py::ssize_t>(views.back().out)});
  for (py::ssize_t b = 0; b < batch; ++b) {
    std::vector<float> x(rows.data(b, 0), rows.data(b, 0) + rows.shape(1));
    for (const LayerView& layer : views) {
      std::vector<float> y(static_cast<std::size_t>(layer.out));
      std::vector<float> chains(static_cast<std::size_t>(layer.runs));
      reference_layer(layer, x.data(), y.data(), chains.data());
      x = std::move(y);
    }
    for (float& v : x) v = v != v ? __builtin_nanf("") : v;
    std::copy(x.begin(), x.end(), outputs.mutable_data(b, 0));
  }
  return outputs;
}

// A layer -> (runs, rows, indptr, entries), see core/packer.h.
py::tuple pack_for(const py::sequence& layer, std::int32_t lanes, bool free_rows) {
  const std::vector<LayerArrays> arrays = layers_of(layer);
  const std::vector<LayerView> views = views_of(arrays);
  if (views.size() != 1 || lanes < 1 || lanes > 32) {
    throw std::invalid_argument("expected one layer and 1 to 32 lanes");
  }
  check_layers(views, views.front().in);
  const Packing packing = pack_for_lanes(views.front(), lanes, free_rows);
  const auto array = [](const std::vector<std::int32_t>& v) {
    return IntArray(static_cast<py::ssize_t>(v.size()), v.data());
  };
  return py::make_tuple(packing.runs, array(packing.rows), array(packing.indptr),
                        array(packing.entries));
}

}  // namespace

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
  m.doc() = "Compiled core of sparseagent: kernels, plan, scalar reference.";
  py::class_<PyPlan>(m, "Plan", py::custom_type_setup([](PyHeapTypeObject* type) {
                       type->ht_type.tp_call = call_slot;
                     }))
      .def(
          py::init<const py::sequence&, std::int32_t, std::vector<py::ssize_t>,
                   const std::optional<DoubleArray>&, const std::optional<DoubleArray>&,
                   double, double, const std::string&, const std::optional<FloatArray>&,
                   const std::optional<FloatArray>&, std::vector<py::ssize_t>,
                   const std::string&, const std::string&, int, double>())
      .def("predict", &PyPlan::predict, py::arg("observation"),
           py::arg("state") = py::none(), py::arg("episode_start") = py::none(),
           py::arg("deterministic") = true)
      .def("time", &PyPlan::time, py::arg("observations"), py::arg("calls"))
      .def("_update", &PyPlan::update)
      .def_property_readonly("_choices", &choices_of)
      .def_property_readonly("_costs", &costs_of)
      .def_property_readonly("isa", [](const PyPlan& p) { return p.plan().isa().name; })
      .def_property_readonly("threads",
                             [](const PyPlan& p) { return p.plan().threads(); });
  m.def("isas", &isas);
  m.def("measure_peak", &measure_peak, py::arg("isa") = "");
  m.def("pack_for_lanes", &pack_for, py::arg("layer"), py::arg("lanes"),
        py::arg("free_rows"));
  m.def("reference", &reference, py::arg("layers"), py::arg("rows"));
}
