// Calls of a plan from Python: what is given for each input, and how long calls let
// others run. Part of bind.cpp, which alone includes it.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

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

// One array for each input, and what they have in common.
struct Given {
  std::vector<py::array> arrays;  // kept while they are read
  std::vector<Observations> inputs;
  std::int64_t batch = 1;
  bool single = true;

  // The shape of something for each row.
  std::vector<py::ssize_t> shaped(const std::vector<std::int64_t>& one) const {
    std::vector<py::ssize_t> shape(one.begin(), one.end());
    if (!single) shape.insert(shape.begin(), batch);
    return shape;
  }
};

// [*shape] or [B, *shape], where `shape` is the environment's or the flat [in].
std::int64_t batch_of(const Input& input, const py::array& given, bool* single) {
  const std::vector<std::int64_t> flat = {input.step.size};
  for (const auto* shape : {&input.shape, &flat}) {
    const auto axes = static_cast<py::ssize_t>(shape->size());
    const py::ssize_t extra = given.ndim() - axes;
    if (extra != 0 && extra != 1) continue;
    // Not by memcmp: an array without axes may have no shape to point to.
    if (!std::equal(shape->begin(), shape->end(), given.shape() + extra)) continue;
    *single = extra == 0;
    return *single ? 1 : given.shape(0);
  }
  const std::vector<py::ssize_t> wanted(input.shape.begin(), input.shape.end());
  const std::string expected = axes_text(wanted.data(), wanted.size());
  throw std::invalid_argument(input.name + ": expected " + expected + " or [B" +
                              (wanted.empty() ? "" : ", ") + expected.substr(1) +
                              ", got " + shape_text(given));
}

// One observation or a batch, of any numeric type, by names where there are several.
Given given_of(const Plan& plan, const py::object& observation) {
  const std::vector<Input>& inputs = plan.program().inputs;
  const bool named = py::isinstance<py::dict>(observation);
  if (!named && inputs.size() > 1) {
    throw py::type_error("observation: expected a dict of " +
                         std::to_string(inputs.size()) + " arrays, got " +
                         Py_TYPE(observation.ptr())->tp_name);
  }
  Given given;
  for (const Input& input : inputs) {
    py::object item = observation;
    if (named) {
      item = observation.attr("get")(input.name);
      if (item.is_none()) {
        throw py::type_error(
            "observation: expected " +
            std::string(inputs.size() > 1 ? "" : "a numeric array or ") +
            "a dict with '" + input.name + "', got one without");
      }
    }
    given.arrays.push_back(contiguous(item));
    const py::array& array = given.arrays.back();
    given.inputs.push_back({array.data(), dtype_of(array)});
    bool single = false;
    const std::int64_t batch = batch_of(input, array, &single);
    if (given.arrays.size() > 1 && (batch != given.batch || single != given.single)) {
      throw std::invalid_argument("observation: " + input.name +
                                  ": expected as many as of the others, got " +
                                  shape_text(array));
    }
    given.batch = batch;
    given.single = single;
  }
  return given;
}

// The rows from `first` on.
Observations from(Observations observations, std::int64_t size, std::int64_t first) {
  const std::int64_t bytes = size * bytes_of(observations.dtype);
  return {static_cast<const char*>(observations.data) + first * bytes,
          observations.dtype};
}

std::vector<Observations> from(const Plan& plan,
                               const std::vector<Observations>& inputs,
                               std::int64_t first) {
  std::vector<Observations> rest;
  for (const Observations& input : inputs) {
    const std::int32_t size = plan.program().inputs[rest.size()].step.size;
    rest.push_back(from(input, size, first));
  }
  return rest;
}

// Slices start short, as the plan's estimate may be wrong, and come in whole tiles.
template <typename Work>
void in_slices(const Plan& plan, std::int64_t batch, Unlocked* unlocked,
               const Work& work) {
  const double total = plan.estimate_ns(batch);
  if (total < kSliceNs) return work(0, batch);
  const std::int64_t unit = plan.schedule().layout().columns();
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

// work(first, rows) for the rows [0, batch), in order.
template <typename Work>
void run_rows(const Plan& plan, std::int64_t batch, const Work& work) {
  if (plan.estimate_ns(batch) < kReleaseNs) return work(0, batch);
  Unlocked unlocked;
  in_slices(plan, batch, &unlocked, work);
}

// The first `wanted` outputs: float32 [size] or [B, size] each.
std::vector<FloatArray> outputs_of(const Plan& plan, const py::object& observation,
                                   std::size_t wanted) {
  const Given given = given_of(plan, observation);
  std::vector<FloatArray> arrays;
  std::vector<float*> to;
  std::vector<std::int64_t> sizes;
  for (std::size_t k = 0; k < wanted; ++k) {
    sizes.push_back(plan.program().outputs[k].second.size);
    arrays.emplace_back(given.shaped({sizes.back()}));
    to.push_back(arrays.back().mutable_data());
  }
  run_rows(plan, given.batch, [&](std::int64_t first, std::int64_t rows) {
    const std::vector<Observations> inputs = from(plan, given.inputs, first);
    std::vector<float*> at = to;
    for (std::size_t k = 0; k < wanted; ++k) at[k] += first * sizes[k];
    plan.forward({inputs.data(), at.data(), wanted}, rows);
  });
  return arrays;
}

}  // namespace
