// States of recurrent policies for Python: an opaque object in the plan's layout. Part
// of bind.cpp, which alone includes it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bind_rows.h"

namespace {

// What a call of a recurrent plan leaves to the next one.
class PyState {
 public:
  PyState(const StateLayout& layout, bool single)
      : layout_(layout),
        single_(single),
        memory_(sizeof(float) * static_cast<std::size_t>(layout.floats())) {}

  const StateLayout& layout() const { return layout_; }
  bool single() const { return single_; }
  float* data() { return memory_.floats(); }

  // Row-major: float32 [size] or [B, size].
  FloatArray array() {
    std::vector<py::ssize_t> shape = {layout_.size};
    if (!single_) shape.insert(shape.begin(), layout_.rows);
    FloatArray rows(shape);
    float* to = rows.mutable_data();
    for (std::int64_t r = 0; r < layout_.rows; ++r) {
      for (std::int32_t f = 0; f < layout_.size; ++f)
        *to++ = data()[layout_.place(r, f)];
    }
    return rows;
  }

 private:
  StateLayout layout_;
  bool single_;
  Buffer memory_;
};

std::string rows_text(std::int64_t rows, std::int32_t size) {
  return "[" + std::to_string(rows) + ", " + std::to_string(size) + "]";
}

// The states of one call: what it was given, and room for what it leaves.
class States {
 public:
  States(const Plan& plan, const Given& given, const py::object& state,
         const py::object& starts) {
    const StateLayout layout = plan.state_layout(given.batch);
    if (layout.size == 0) return;
    next_ = std::make_shared<PyState>(layout, given.single);
    rows_.to = next_->data();
    rows_.to_layout = layout;
    take(layout, state);
    if (!starts.is_none()) take_starts(given.batch, starts);
  }

  const StateRows& rows() const { return rows_; }

  // The new one; for plans without states what the caller gave.
  py::object next(const py::object& state) const {
    return next_ == nullptr ? state : py::cast(next_);
  }

 private:
  void take(const StateLayout& layout, const py::object& state) {
    if (state.is_none()) return;
    if (py::isinstance<PyState>(state)) {
      kept_ = state.cast<std::shared_ptr<PyState>>();
      const StateLayout& own = kept_->layout();
      if (own.size != layout.size || own.rows != layout.rows) {
        throw std::invalid_argument("state: expected one of " +
                                    rows_text(layout.rows, layout.size) +
                                    ", as the last call of this plan gave it, got " +
                                    rows_text(own.rows, own.size));
      }
      rows_.from = kept_->data();
      rows_.from_layout = own;
      return;
    }
    array_ = RowArray::ensure(state);
    if (!array_ || array_.size() != layout.rows * layout.size ||
        array_.shape(array_.ndim() - 1) != layout.size) {
      PyErr_Clear();
      throw std::invalid_argument(
          "state: expected what the last call gave, or float32 " +
          rows_text(layout.rows, layout.size) + ", got " +
          (array_ ? shape_text(array_) : Py_TYPE(state.ptr())->tp_name));
    }
    rows_.from = array_.data();
    rows_.from_layout = {layout.size, layout.rows, 1};
  }

  void take_starts(std::int64_t batch, const py::object& starts) {
    flags_ = FlagArray::ensure(starts);
    if (!flags_ || flags_.size() != batch) {
      PyErr_Clear();
      throw std::invalid_argument(
          "episode_start: expected [" + std::to_string(batch) + "] of booleans, got " +
          (flags_ ? shape_text(flags_) : Py_TYPE(starts.ptr())->tp_name));
    }
    rows_.starts = reinterpret_cast<const std::uint8_t*>(flags_.data());
  }

  using RowArray = py::array_t<float, py::array::c_style | py::array::forcecast>;
  using FlagArray = py::array_t<bool, py::array::c_style | py::array::forcecast>;

  std::shared_ptr<PyState> next_;
  std::shared_ptr<PyState> kept_;
  RowArray array_;
  FlagArray flags_;
  StateRows rows_;
};

void bind_state(py::module_& m) {
  // Made by plans alone: `__new__` would leave one with nothing behind it.
  const auto refuse = [](PyTypeObject*, PyObject*, PyObject*) -> PyObject* {
    PyErr_SetString(PyExc_TypeError, "State: expected a plan to make it");
    return nullptr;
  };
  py::class_<PyState, std::shared_ptr<PyState>>(
      m, "State", py::custom_type_setup([refuse](PyHeapTypeObject* type) {
        type->ht_type.tp_new = refuse;
      }))
      .def(
          "__array__",
          [](PyState& self, const py::object& dtype, const py::object&) {
            const FloatArray rows = self.array();
            return dtype.is_none() ? py::object(rows) : rows.attr("astype")(dtype);
          },
          py::arg("dtype") = py::none(), py::arg("copy") = py::none())
      .def_property_readonly("shape", [](const PyState& self) -> py::tuple {
        const StateLayout& layout = self.layout();
        if (self.single()) return py::make_tuple(layout.size);
        return py::make_tuple(layout.rows, layout.size);
      });
}

}  // namespace
