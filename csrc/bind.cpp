// The Python extension. This file and the bind_*.h it includes are the only ones that
// know pybind11; bind_lock.cpp knows Python alone.
#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "bind_slots.h"
#include "bind_sources.h"
#include "core/check.h"
#include "core/cpu.h"
#include "core/float_mode.h"
#include "core/packer.h"
#include "core/reference.h"
#include "core/registry.h"
#include "policy/read.h"

namespace {

// name -> (runs here, needs, formats, lanes)
py::dict isas() {
  py::dict table;
  for (int i = 0; i < kIsaCount; ++i) {
    const Isa& isa = kIsas[i];
    if (table.contains(isa.name)) continue;  // a variant
    py::list formats;
    for (int k = 0; k < isa.kernel_count; ++k) {
      const Kernel& kernel = *isa.kernels[k];
      if (has_path(kernel, Path::one) || has_path(kernel, Path::tile))
        formats.append(kernel.format);
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

// One array [B, *shape] for each input, in the order of the program.
struct GivenInputs {
  std::vector<py::array> arrays;
  std::vector<Observations> observations;
  py::ssize_t batch;

  GivenInputs(const Program& program, const py::sequence& inputs) {
    if (py::len(inputs) != program.inputs.size()) {
      throw std::invalid_argument("inputs: expected one array for each input");
    }
    for (const Input& input : program.inputs) {
      const py::object item = inputs[arrays.size()];
      arrays.push_back(contiguous(item));
      const py::array& array = arrays.back();
      const auto axes = static_cast<std::size_t>(array.ndim());
      if (axes != input.shape.size() + 1 || array.shape(0) != arrays.front().shape(0) ||
          !std::equal(input.shape.begin(), input.shape.end(), array.shape() + 1)) {
        throw std::invalid_argument("inputs: " + input.name +
                                    ": expected [B, *shape], got " + shape_text(array));
      }
      observations.push_back({array.data(), dtype_of(array)});
    }
    batch = arrays.front().shape(0);
  }
};

// The content of a policy file and its inputs -> output `number` [B, out], by the
// scalar reference; of a recurrent program from states of 0.
FloatArray reference(const py::bytes& data, const py::sequence& inputs,
                     std::size_t number) {
  const auto content = static_cast<std::string_view>(data);
  const Program program = read_policy(content.data(), content.size());
  const GivenInputs given(program, inputs);
  if (number >= program.outputs.size()) {
    throw std::invalid_argument("number: expected that of an output");
  }
  FloatArray outputs(
      {given.batch, static_cast<py::ssize_t>(program.outputs[number].second.size)});
  float* out = outputs.mutable_data();
  const Unlocked unlocked;
  const PlainFloats plain;
  reference_forward(program, given.observations, given.batch, number, out);
  return outputs;
}

// An activation by its scalar contract, number by number: a copy, float32 of any shape.
FloatArray activated(const std::string& name, const FloatArray& x, float alpha) {
  FloatArray y(std::vector<py::ssize_t>(x.shape(), x.shape() + x.ndim()));
  std::copy_n(x.data(), x.size(), y.mutable_data());
  const PlainFloats plain;
  reference_activate(activation_of(name), alpha, y.mutable_data(), y.size());
  return y;
}

// Words that each of the rows [B] draws, uint32 [B, draws], from `block` on.
WordArray random_words(std::uint64_t seed, std::uint64_t step, const WordArray& rows,
                       std::uint32_t stream, std::int64_t draws, const std::string& isa,
                       std::uint32_t block) {
  if (draws < 1 || draws > kMaxDraws) {
    throw std::invalid_argument("draws: expected 1 to " + std::to_string(kMaxDraws));
  }
  const HeadKernel& heads = *choose_isa(isa.c_str()).heads;
  WordArray words({rows.size(), static_cast<py::ssize_t>(draws)});
  for (py::ssize_t i = 0; i < rows.size(); ++i) {
    heads.words({seed, step}, stream, block, rows.data()[i], draws,
                words.mutable_data() + i * draws);
  }
  return words;
}

// The normal number of every word, float32 [n].
FloatArray normals(const WordArray& words, const std::string& isa) {
  FloatArray z(words.size());
  const PlainFloats plain;
  choose_isa(isa.c_str()).heads->normals(words.data(), words.size(), z.mutable_data());
  return z;
}

// The logarithm of every number, float32 [n].
FloatArray logarithms(const FloatArray& x, const std::string& isa) {
  FloatArray y(x.size());
  std::copy_n(x.data(), x.size(), y.mutable_data());
  const PlainFloats plain;
  choose_isa(isa.c_str()).heads->logarithms(y.mutable_data(), y.size());
  return y;
}

// Structure [out * runs + 1], [nnz] of a layer `in` wide -> (runs, rows, indptr,
// entries), see core/packer.h.
py::tuple pack_for(std::int32_t in, std::int32_t runs, const IntArray& indptr,
                   const IntArray& indices, std::int32_t lanes, bool free_rows) {
  const py::ssize_t chains = indptr.size() - 1;
  if (in < 1 || in > kMaxWidth || runs < 1 || runs > kMaxRuns || chains < 1 ||
      chains % runs != 0 || chains / runs > kMaxWidth ||
      indptr.data()[chains] != indices.size()) {
    throw std::invalid_argument("expected the structure of a layer");
  }
  if (lanes < 1 || lanes > 16) throw std::invalid_argument("lanes: expected 1 to 16");
  constexpr std::int32_t kMostChunks = 256;  // a byte numbers them
  const std::int32_t least = (in + kMostChunks - 1) / kMostChunks;
  if (lanes < least) {
    throw std::invalid_argument("lanes: expected at least " + std::to_string(least) +
                                " for " + std::to_string(in) + " inputs, got " +
                                std::to_string(lanes));
  }
  const std::vector<float> zeros(
      static_cast<std::size_t>(std::max(indices.size(), chains)), 0.0f);
  const LayerView layer = {static_cast<std::int32_t>(chains / runs),
                           in,
                           runs,
                           indptr.data(),
                           indices.data(),
                           zeros.data(),
                           zeros.data(),
                           Activation::identity,
                           0.0f};
  check_layer(layer);
  const Packing packing = pack_for_lanes(layer, lanes, free_rows);
  const auto array = [](const std::vector<std::int32_t>& v) {
    return IntArray(static_cast<py::ssize_t>(v.size()), v.data());
  };
  return py::make_tuple(packing.runs, array(packing.rows), array(packing.indptr),
                        array(packing.entries));
}

}  // namespace

// The same for one step of a recurrent program: states [B, features] -> (the first
// output, the next states).
py::tuple reference_step(const py::bytes& data, const py::sequence& inputs,
                         const FloatArray& state) {
  const auto content = static_cast<std::string_view>(data);
  const Program program = read_policy(content.data(), content.size());
  py::ssize_t size = 0;
  for (const State& each : program.states) size += each.from.size;
  const GivenInputs given(program, inputs);
  if (state.ndim() != 2 || state.shape(0) != given.batch || state.shape(1) != size) {
    throw std::invalid_argument("state: expected [B, " + std::to_string(size) + "]");
  }
  FloatArray outputs(
      {given.batch, static_cast<py::ssize_t>(program.outputs[0].second.size)});
  FloatArray next({given.batch, size});
  float* out = outputs.mutable_data();
  float* to = next.mutable_data();
  {
    const Unlocked unlocked;
    const PlainFloats plain;
    reference_forward(program, given.observations, given.batch, 0, out, state.data(),
                      to);
  }
  return py::make_tuple(outputs, next);
}

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
  m.doc() = "Compiled core of sparseagent: kernels, plan, scalar reference.";
  bind_state(m);
  py::class_<PyPlan>(m, "Plan", py::custom_type_setup([](PyHeapTypeObject* type) {
                       type->ht_type.tp_new = new_slot;
                       type->ht_type.tp_call = call_slot;
                       type->ht_type.tp_methods = kMethods;
                     }))
      .def(py::init<const py::bytes&, const std::string&, const std::string&, int,
                    double, std::vector<std::vector<std::string>>,
                    std::vector<double>>())
      .def("initial_state", &PyPlan::initial_state, py::arg("batch") = py::none())
      .def("step", &PyPlan::step, py::arg("observation"), py::arg("state") = py::none(),
           py::arg("episode_start") = py::none())
      .def("_sample", &PyPlan::sample, py::arg("observation"), py::arg("state"),
           py::arg("episode_start"), py::arg("deterministic"), py::arg("action_masks"),
           py::arg("seed"), py::arg("step"), py::arg("rows"))
      .def("time", &PyPlan::time, py::arg("observations"), py::arg("calls"))
      .def("prefetch",
           [](const py::object& self) {
             self.cast<const PyPlan&>().prefetch(self.ptr());
           })
      .def("outputs", &PyPlan::outputs, py::arg("observation"))
      .def("_time_act", &PyPlan::time_act)
      .def("_update", &PyPlan::update, py::arg("layers"),
           py::arg("numbers") = FloatArray(0))
      .def_property_readonly("_choices", &choices_of)
      .def_property_readonly("_costs", &costs_of)
      .def("_cuts", &cuts_of)
      .def_property_readonly("isa", [](const PyPlan& p) { return p.plan().isa().name; })
      .def_property_readonly("threads",
                             [](const PyPlan& p) { return p.plan().threads(); });
  py::dict activations;
  for (const ActivationInfo& info : kActivations) activations[info.name] = info.alpha;
  m.attr("ACTIVATIONS") = activations;
  m.attr("ACTIVATION_H") = kActivationHeader;
  m.attr("RANDOM_H") = kRandomHeader;
  py::list heads;
  for (const char* kind : kHeadKinds) heads.append(kind);
  m.attr("HEADS") = py::tuple(heads);
  m.attr("MAX_DRAWS") = kMaxDraws;
  m.attr("MAX_WIDTH") = kMaxWidth;
  m.attr("MAX_RUNS") = kMaxRuns;
  m.attr("MAX_NONZEROS") = kMaxNonzeros;
  m.attr("MAX_OPS") = kMostOps;
  m.attr("MAX_FEATURES") = kMostFeatures;
  m.attr("MAX_SLOTS") = kMostSlots;
  m.attr("MAX_READS") = kMostReads;
  m.attr("MAX_WORK") = kMostWork;
  m.attr("MAX_INPUTS") = kMostInputs;
  m.attr("MAX_OUTPUTS") = kMostOutputs;
  m.attr("MAX_THREADS") = ThreadPool::kMaxParts;
  m.def("isas", &isas);
  m.def("measure_peak", &measure_peak, py::arg("isa") = "");
  m.def("pack_for_lanes", &pack_for, py::arg("inputs"), py::arg("runs"),
        py::arg("indptr"), py::arg("indices"), py::arg("lanes"), py::arg("free_rows"));
  m.def("activate", &activated, py::arg("name"), py::arg("x"), py::arg("alpha") = 0.0f);
  m.attr("MAX_STATES") = kMostStates;
  m.def("reference_step", &reference_step, py::arg("data"), py::arg("inputs"),
        py::arg("state"));
  m.def("random_words", &random_words, py::arg("seed"), py::arg("step"),
        py::arg("rows"), py::arg("stream"), py::arg("draws"), py::arg("isa") = "",
        py::arg("first_block") = 0);
  m.def("normals", &normals, py::arg("words"), py::arg("isa") = "");
  m.def("logarithms", &logarithms, py::arg("x"), py::arg("isa") = "");
  m.def("reference", &reference, py::arg("data"), py::arg("inputs"),
        py::arg("number") = 0);
}
