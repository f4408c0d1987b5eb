// The Python extension. This file and the bind_*.h it includes are the only ones that
// know pybind11; bind_lock.cpp knows Python alone.
#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include "bind_plan.h"
#include "core/cpu.h"
#include "core/packer.h"
#include "core/reference.h"
#include "core/registry.h"

namespace {

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
  const std::vector<LayerArrays> arrays = full_layers_of(layers);
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
  const std::vector<LayerArrays> arrays = full_layers_of(layer);
  const std::vector<LayerView> views = views_of(arrays);
  if (views.size() != 1 || lanes < 1 || lanes > 16) {
    throw std::invalid_argument("expected one layer and 1 to 16 lanes");
  }
  check_layers(views, views.front().in);
  constexpr std::int32_t kMostChunks = 256;  // a byte numbers them
  const std::int32_t least = (views.front().in + kMostChunks - 1) / kMostChunks;
  if (lanes < least) {
    throw std::invalid_argument("lanes: expected at least " + std::to_string(least) +
                                " for " + std::to_string(views.front().in) +
                                " inputs, got " + std::to_string(lanes));
  }
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
                       type->ht_type.tp_new = new_slot;
                       type->ht_type.tp_call = call_slot;
                     }))
      .def(
          py::init<const py::sequence&, std::int32_t, std::vector<py::ssize_t>,
                   const std::optional<DoubleArray>&, const std::optional<DoubleArray>&,
                   double, double, const std::string&, const std::optional<FloatArray>&,
                   const std::optional<FloatArray>&, std::vector<py::ssize_t>,
                   const std::string&, const std::string&, int, double,
                   std::vector<std::vector<std::string>>, std::vector<double>>())
      .def("predict", &PyPlan::predict, py::arg("observation"),
           py::arg("state") = py::none(), py::arg("episode_start") = py::none(),
           py::arg("deterministic") = true)
      .def("time", &PyPlan::time, py::arg("observations"), py::arg("calls"))
      .def("prefetch",
           [](const py::object& self) {
             self.cast<const PyPlan&>().prefetch(self.ptr());
           })
      .def("_update", &PyPlan::update)
      .def_property_readonly("_choices", &choices_of)
      .def_property_readonly("_costs", &costs_of)
      .def("_cuts", &cuts_of)
      .def_property_readonly("isa", [](const PyPlan& p) { return p.plan().isa().name; })
      .def_property_readonly("threads",
                             [](const PyPlan& p) { return p.plan().threads(); });
  m.attr("MAX_THREADS") = ThreadPool::kMaxParts;
  m.def("isas", &isas);
  m.def("measure_peak", &measure_peak, py::arg("isa") = "");
  m.def("pack_for_lanes", &pack_for, py::arg("layer"), py::arg("lanes"),
        py::arg("free_rows"));
  m.def("reference", &reference, py::arg("layers"), py::arg("rows"));
}
