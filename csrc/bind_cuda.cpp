// The module for CUDA devices: plans over arrays of any library. Beside bind.cpp the
// only file, with the bind_*.h it includes, that knows pybind11.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bind_array.h"
#include "bind_device.h"
#include "bind_draw.h"
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
    if (out.is_none()) return results(inputs, 1).front();
    const Borrowed to = borrow("out", out, device(), inputs.stream, stream_of_);
    check_out(inputs, to);
    run(inputs, {to.data});
    return py::none();
  }

  // (actions, log-probabilities, values or None, samples before the bounds), of which
  // the last three are None unless `all` are wanted.
  py::tuple act(const py::object& observation, bool deterministic,
                const py::object& masks, const py::object& seed, const py::object& step,
                const py::object& rows, const py::object& stream, bool all) const {
    const Head& head = program().head;
    const Inputs inputs = inputs_of("observation", observation, stream);
    Acting acting;
    acting.acts = deterministic && masks.is_none() && !all ? cuda::Acts::mode
                                                           : cuda::Acts::sample;
    if ((!deterministic || all) && !head.samples()) {
      throw std::invalid_argument(
          std::string("deterministic: expected True, got False: "
                      "the head ") +
          kHeadKinds[static_cast<int>(head.kind)] +
          " holds no distribution to sample from");
    }
    if (!deterministic) acting.draw = draw_of(seed, step);
    acting.draws = !deterministic;
    if (!rows.is_none()) acting.rows = per_row("rows", rows, inputs, 0);
    if (!masks.is_none()) {
      if (!head.takes_masks()) {
        throw std::invalid_argument(
            std::string("action_masks: expected none for the head ") +
            kHeadKinds[static_cast<int>(head.kind)]);
      }
      acting.masks = per_row("action_masks", masks, inputs, head.size);
    }
    return act_on(inputs, &acting, all);
  }

  py::dict outputs(const py::object& observation, const py::object& stream) const {
    const Inputs inputs = inputs_of("observation", observation, stream);
    const auto& named = program().outputs;
    const auto arrays = results(inputs, named.size());
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
                           [&] { launch(inputs, {y.data()}, nullptr); });
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

  // What becomes of the first output.
  struct Acting {
    cuda::Acts acts = cuda::Acts::none;
    bool draws = false;
    Draw draw;
    std::optional<Borrowed> rows;
    std::optional<Borrowed> masks;
    float* samples = nullptr;
    float* log_probs = nullptr;
  };

  // Numbers of environments [B], or masks [B, size].
  Borrowed per_row(const char* name, const py::object& given, const Inputs& inputs,
                   std::int64_t size) const {
    Borrowed b = borrow(name, given, device(), inputs.stream, stream_of_);
    const DType type = b.number_type();
    const bool fits = size == 0 ? type == DType::int32 || type == DType::int64
                                : type == DType::boolean || type == DType::uint8;
    if (!fits || b.size() != inputs.batch * std::max<std::int64_t>(size, 1)) {
      const std::string axes =
          std::to_string(inputs.batch) + (size == 0 ? "" : ", " + std::to_string(size));
      b.refuse((size == 0 ? "int32 or int64 [" : "bool [") + axes + "]");
    }
    return b;
  }

  void launch(const Inputs& inputs, const std::vector<void*>& outputs,
              const Acting* acting) const {
    cuda::Call call = {};
    for (std::size_t k = 0; k < inputs.arrays.size(); ++k) {
      call.inputs[k] = inputs.arrays[k].data;
      call.dtypes[k] = inputs.arrays[k].number_type();
    }
    std::copy(outputs.begin(), outputs.end(), call.outputs);
    call.batch = inputs.batch;
    call.wanted = static_cast<std::int32_t>(outputs.size());
    if (acting != nullptr) {
      call.acts = acting->acts;
      call.draw = acting->draw;
      call.draws = acting->draws;
      call.samples = acting->samples;
      call.log_probs = acting->log_probs;
      if (acting->masks) call.masks = acting->masks->data;
      if (acting->rows) {
        call.rows = acting->rows->data;
        call.wide_rows = acting->rows->number_type() == DType::int64;
      }
    }
    plan_->run(call, inputs.stream);
  }

  void run(const Inputs& inputs, const std::vector<void*>& outputs,
           const Acting* acting = nullptr) const {
    const cuda::Current current(device());
    for (const Borrowed& b : inputs.arrays) {
      // Several inputs may be ready on several streams.
      if (b.known_stream && inputs.waits) cuda::wait_for(inputs.stream, b.stream);
    }
    launch(inputs, outputs, acting);
    if (inputs.waits) cuda::synchronise(inputs.stream);
  }

  // A new array of the caller's library, a batch of that shape.
  std::unique_ptr<Result> made(const Inputs& inputs, std::vector<std::int64_t> shape,
                               bool whole) const {
    if (!inputs.single) shape.insert(shape.begin(), inputs.batch);
    return std::make_unique<Result>(inputs.first(), std::move(shape), whole, device(),
                                    inputs.stream);
  }

  py::object taken(const Inputs& inputs, const std::unique_ptr<Result>& result) const {
    if (!result) return py::none();
    return result->take(in_library_, inputs.first().array);
  }

  // The first `count` outputs in the caller's library.
  std::vector<py::object> results(const Inputs& inputs, std::size_t count) const {
    std::vector<std::unique_ptr<Result>> arrays;
    std::vector<void*> data;
    for (std::size_t k = 0; k < count; ++k) {
      arrays.push_back(made(inputs, {size_of(k)}, false));
      data.push_back(arrays.back()->data());
    }
    run(inputs, data);
    std::vector<py::object> all;
    for (const auto& array : arrays) all.push_back(taken(inputs, array));
    return all;
  }

  py::tuple act_on(const Inputs& inputs, Acting* acting, bool all) const {
    const Head& head = program().head;
    const std::vector<std::int64_t>& shape = program().action_shape;
    const auto actions = made(inputs, shape, head.discrete());
    std::vector<void*> outputs = {actions->data()};
    std::unique_ptr<Result> log_probs, values, samples;
    if (all) {
      log_probs = made(inputs, {}, false);
      acting->log_probs = static_cast<float*>(log_probs->data());
      if (!head.discrete()) {
        samples = made(inputs, shape, false);
        acting->samples = static_cast<float*>(samples->data());
      }
    }
    if (all && head.value >= 0) {
      const auto number = static_cast<std::size_t>(head.value);
      const std::int64_t size = size_of(number);
      values = made(inputs, size == 1 ? std::vector<std::int64_t>() : std::vector{size},
                    false);
      outputs.resize(number + 1, nullptr);
      outputs[number] = values->data();
    }
    run(inputs, outputs, acting);
    const py::object action = taken(inputs, actions);
    const py::object raw = all && head.discrete() ? action : taken(inputs, samples);
    return py::make_tuple(action, taken(inputs, log_probs), taken(inputs, values), raw);
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
      .def("_act", &DevicePlan::act)
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
