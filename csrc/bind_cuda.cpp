// The module for CUDA devices: plans over arrays of any library. Beside bind.cpp the
// only file, with the bind_*.h it includes, that knows pybind11.
#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bind_array.h"
#include "bind_device.h"
#include "bind_layers.h"
#include "bind_lock.h"
#include "cuda/plan.h"
#include "policy/read.h"

namespace {

// The stream that a caller names: CUDA's handle, or an object of a library that has
// one.
void* stream_of(const py::object& given) {
  py::object stream = given;
  for (const char* name : {"cuda_stream", "ptr"}) {  // torch and Warp; CuPy
    if (py::hasattr(given, name)) stream = given.attr(name);
  }
  if (!py::isinstance<py::int_>(stream)) {
    throw py::type_error("stream: expected a handle (int) or a stream, got " +
                         type_name(given));
  }
  return reinterpret_cast<void*>(stream.cast<std::uintptr_t>());
}

// What one call works on.
struct Inputs {
  std::vector<Borrowed> arrays;
  std::int64_t batch = 1;
  bool single = true;
  void* stream = nullptr;
  bool waits = false;  // no stream is known that the owner's memory follows

  const Borrowed& first() const { return arrays.front(); }
};

class DevicePlan {
 public:
  // `in_library` makes of an Array, and an array of the caller, one like that;
  // `stream_of`: see borrow_by_interface.
  DevicePlan(const py::bytes& data, int device, py::object in_library,
             py::object stream_of)
      : in_library_(std::move(in_library)), stream_of_(std::move(stream_of)) {
    const auto content = static_cast<std::string_view>(data);
    const Unlocked unlocked;
    plan_ = std::make_unique<cuda::Plan>(read_policy(content.data(), content.size()),
                                         device);
  }

  const cuda::Plan& plan() const { return *plan_; }

  void update(const py::sequence& layers, const py::object& stream) {
    const std::vector<LayerArrays> arrays = layers_of(layers);
    std::vector<LayerView> views = views_of(arrays);
    void* on = stream.is_none() ? nullptr : stream_of(stream);
    const Unlocked unlocked;
    plan_->update(std::move(views), on);
  }

  // plan(x), plan(x, out): float32, nothing is converted.
  py::object call(const py::object& observations, const py::object& out,
                  const py::object& stream) const {
    const Inputs inputs = inputs_of("observations", observations, stream);
    if (!py::isinstance<py::dict>(observations) &&
        inputs.first().number_type() != DType::float32) {
      inputs.first().refuse("float32 (predict takes other types)");
    }
    if (out.is_none()) return results(inputs, 1, false).front();
    const Borrowed to = borrow("out", out, device(), inputs.stream, stream_of_);
    check_out(inputs, to);
    run(inputs, {to.data}, false);
    return py::none();
  }

  py::tuple predict(const py::object& observation, const py::object& state,
                    const py::object&, bool deterministic,
                    const py::object& stream) const {
    if (!deterministic) {
      throw std::invalid_argument(
          "deterministic: expected True, got False: CUDA has no kernels that sample "
          "yet; "
          "device=\"cpu\" samples");
    }
    const Inputs inputs = inputs_of("observation", observation, stream);
    return py::make_tuple(results(inputs, 1, true).front(), state);
  }

  py::dict outputs(const py::object& observation, const py::object& stream) const {
    const Inputs inputs = inputs_of("observation", observation, stream);
    const auto& named = program().outputs;
    const auto arrays = results(inputs, named.size(), false);
    py::dict all;
    for (std::size_t k = 0; k < named.size(); ++k) {
      all[py::str(named[k].first)] = arrays[k];
    }
    return all;
  }

  // ns of each of `calls` launches, by the device's clock.
  py::array_t<double> time(const py::object& observations, std::size_t calls,
                           const py::object& stream) const {
    if (calls < 1) throw std::invalid_argument("calls: expected 1 or more");
    const Inputs inputs = inputs_of("observations", observations, stream);
    const cuda::Current current(device());
    const DeviceArray y({inputs.batch, size_of(0)}, false, device(), inputs.stream);
    std::vector<double> ns;
    {
      const Unlocked unlocked;
      ns = cuda::time_each(calls, inputs.stream,
                           [&] { launch(inputs, {y.data()}, false); });
    }
    return py::array_t<double>(static_cast<py::ssize_t>(ns.size()), ns.data());
  }

 private:
  const Program& program() const { return plan_->program(); }
  int device() const { return plan_->device(); }
  std::int64_t size_of(std::size_t output) const {
    return program().outputs[output].second.size;
  }

  Inputs inputs_of(const char* name, const py::object& given,
                   const py::object& stream) const {
    Inputs in;
    if (!stream.is_none()) in.stream = stream_of(stream);
    const bool named = py::isinstance<py::dict>(given);
    const std::vector<Input>& wanted = program().inputs;
    if (!named && wanted.size() > 1) {
      throw py::type_error(std::string(name) + ": expected a dict of " +
                           std::to_string(wanted.size()) + " arrays, got one " +
                           type_name(given));
    }
    for (const Input& input : wanted) {
      py::object item = given;
      if (named) {
        item = given.attr("get")(input.name);
        if (item.is_none()) {
          throw py::type_error(std::string(name) + ": expected a dict with '" +
                               input.name + "', got one without");
        }
      }
      in.arrays.push_back(borrow(named ? input.name.c_str() : name, item, device(),
                                 in.stream, stream_of_));
      add(input, &in);
    }
    if (stream.is_none()) {
      in.stream = in.first().stream;
      in.waits = std::any_of(
          in.arrays.begin(), in.arrays.end(),
          [&](const Borrowed& b) { return !b.known_stream || b.stream != in.stream; });
    }
    return in;
  }

  // The shape of the array that was borrowed last: one observation or a batch.
  void add(const Input& input, Inputs* in) const {
    const Borrowed& b = in->arrays.back();
    const std::vector<std::vector<std::int64_t>> shapes = {input.shape,
                                                           {input.step.size}};
    for (const std::vector<std::int64_t>& shape : shapes) {
      const bool single = b.shape == shape;
      const bool batch = b.shape.size() == shape.size() + 1 &&
                         std::equal(shape.begin(), shape.end(), b.shape.begin() + 1);
      if (!single && !batch) continue;
      const std::int64_t rows = single ? 1 : b.shape.front();
      if (in->arrays.size() > 1 && (rows != in->batch || single != in->single)) {
        b.refuse("as many as of the other inputs");
      }
      in->batch = rows;
      in->single = single;
      return;
    }
    const std::string text = axes_text(input.shape);
    b.refuse(text + " or [B" + (input.shape.empty() ? "" : ", ") + text.substr(1));
  }

  void check_out(const Inputs& inputs, const Borrowed& out) const {
    const Borrowed& x = inputs.first();
    std::vector<std::int64_t> shape = {size_of(0)};
    if (!inputs.single) shape.insert(shape.begin(), inputs.batch);
    if (out.shape != shape || out.number_type() != DType::float32 || out.read_only) {
      out.refuse("a writable float32 " + axes_text(shape));
    }
    if (inputs.batch <= 1) return;
    const bool apart =
        out.data + out.bytes() <= x.data || x.data + x.bytes() <= out.data;
    const bool itself =
        out.data == x.data && x.shape == out.shape && inputs.arrays.size() == 1;
    if (apart || itself) return;
    out.refuse(
        "memory apart from the observations, or theirs where the shapes are equal");
  }

  void launch(const Inputs& inputs, const std::vector<void*>& outputs,
              bool acts) const {
    cuda::Call call = {};
    for (std::size_t k = 0; k < inputs.arrays.size(); ++k) {
      call.inputs[k] = inputs.arrays[k].data;
      call.dtypes[k] = inputs.arrays[k].number_type();
    }
    std::copy(outputs.begin(), outputs.end(), call.outputs);
    call.batch = inputs.batch;
    call.wanted = static_cast<std::int32_t>(outputs.size());
    call.acts = acts;
    plan_->run(call, inputs.stream);
  }

  void run(const Inputs& inputs, const std::vector<void*>& outputs, bool acts) const {
    const cuda::Current current(device());
    for (const Borrowed& b : inputs.arrays) {
      // Several inputs may be ready on several streams.
      if (b.known_stream && inputs.waits) cuda::wait_for(inputs.stream, b.stream);
    }
    launch(inputs, outputs, acts);
    if (inputs.waits) cuda::synchronise(inputs.stream);
  }

  // The first `count` outputs, or the actions of a head, in the caller's library.
  std::vector<py::object> results(const Inputs& inputs, std::size_t count,
                                  bool acts) const {
    std::vector<std::unique_ptr<Result>> made;
    std::vector<void*> data;
    const bool whole = acts && program().head.discrete();
    for (std::size_t k = 0; k < count; ++k) {
      std::vector<std::int64_t> shape = {size_of(k)};
      if (acts) shape = program().action_shape;
      if (!inputs.single) shape.insert(shape.begin(), inputs.batch);
      made.push_back(std::make_unique<Result>(inputs.first(), std::move(shape), whole,
                                              device(), inputs.stream));
      data.push_back(made.back()->data());
    }
    run(inputs, data, acts);
    std::vector<py::object> arrays;
    for (const auto& result : made) {
      arrays.push_back(result->take(in_library_, inputs.first().array));
    }
    return arrays;
  }

  std::unique_ptr<cuda::Plan> plan_;
  py::object in_library_;
  py::object stream_of_;
};

// (devices as dicts, why there are none).
py::tuple devices() {
  std::string reason;
  const int count = cuda::device_count(&reason);
  py::list all;
  for (int i = 0; i < count; ++i) {
    const cuda::Device device = cuda::describe(i);
    py::dict facts;
    facts["name"] = device.name;
    facts["capability"] = py::make_tuple(device.major, device.minor);
    facts["multiprocessors"] = device.multiprocessors;
    facts["shared_bytes"] = device.shared_bytes;
    facts["memory"] = device.memory;
    all.append(facts);
  }
  return py::make_tuple(all, reason);
}

// What a batch goes through: observations of a tile, blocks that share it, blocks in
// all.
py::tuple tiling_of(const DevicePlan& plan, std::int64_t batch) {
  const cuda::Tiling tiling = plan.plan().tiling(batch);
  return py::make_tuple(cuda::kShapes[tiling.shape].columns(), tiling.cluster,
                        plan.plan().blocks(tiling, batch));
}

}  // namespace

#ifndef SPARSEAGENT_CUDA_MODULE
#define SPARSEAGENT_CUDA_MODULE _cuda
#endif

PYBIND11_MODULE(SPARSEAGENT_CUDA_MODULE, m, py::mod_gil_not_used()) {
  m.doc() = "Plans on CUDA devices.";
  const auto none = py::none();
  py::class_<DevicePlan>(m, "Plan")
      .def(py::init<const py::bytes&, int, py::object, py::object>())
      .def("__call__", &DevicePlan::call, py::arg("observations"),
           py::arg("out") = none, py::arg("stream") = none)
      .def("predict", &DevicePlan::predict, py::arg("observation"),
           py::arg("state") = none, py::arg("episode_start") = none,
           py::arg("deterministic") = true, py::arg("stream") = none)
      .def("outputs", &DevicePlan::outputs, py::arg("observation"),
           py::arg("stream") = none)
      .def("time", &DevicePlan::time, py::arg("observations"), py::arg("calls"),
           py::arg("stream") = none)
      .def("_update", &DevicePlan::update, py::arg("layers"), py::arg("stream") = none)
      .def("_tiling", &tiling_of, py::arg("batch"))
      .def_property_readonly("_places",
                             [](const DevicePlan& p) { return p.plan().places(); });
  py::class_<DeviceArray, SharedArray>(m, "Array")
      .def_property_readonly("__cuda_array_interface__", &DeviceArray::interface)
      .def("__dlpack_device__",
           [](const DeviceArray& a) {
             return py::make_tuple(cuda::array_device(), a.device());
           })
      .def(
          "__dlpack__",
          [](const SharedArray& a, const py::object& stream, const py::kwargs&) {
            return capsule_of(a, stream);
          },
          py::arg("stream") = none);
  m.def("devices", &devices);
}
