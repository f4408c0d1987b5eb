// Actions for Python: `predict` and `sample`. Part of bind.cpp, which alone includes
// it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bind_draw.h"
#include "bind_rows.h"
#include "bind_state.h"

namespace {

using MaskArray = py::array_t<bool, py::array::c_style | py::array::forcecast>;

// How Python says what to draw.
struct Drawing {
  bool deterministic;
  const py::object& action_masks;  // None: all are allowed
  const py::object& seed;          // None, as step: unlike any other call
  const py::object& step;
  const py::object& rows;  // None: 0, 1, ...
};

Draw draw_of(const Drawing& drawing) { return draw_of(drawing.seed, drawing.step); }

// Numbers of environments as the counter takes them.
std::vector<std::uint32_t> rows_of(const py::object& given, std::int64_t batch) {
  const py::array array = py::array::ensure(given);
  if (!array || (array.dtype().kind() != 'i' && array.dtype().kind() != 'u')) {
    PyErr_Clear();
    throw py::type_error("rows: expected whole numbers, one for each observation");
  }
  if (array.size() != batch || array.ndim() > 1) {
    throw std::invalid_argument("rows: expected [" + std::to_string(batch) + "], got " +
                                shape_text(array));
  }
  const auto wide =
      py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>::ensure(
          array);
  std::vector<std::uint32_t> rows;
  for (py::ssize_t i = 0; i < wide.size(); ++i) {
    const std::int64_t row = wide.data()[i];
    if (row < 0 || row >= std::int64_t{1} << 32) {
      throw std::invalid_argument("rows: expected numbers from 0 to 2^32 - 1, got " +
                                  std::to_string(row));
    }
    rows.push_back(static_cast<std::uint32_t>(row));
  }
  return rows;
}

MaskArray masks_of(const py::object& given, std::int64_t batch, std::int32_t size) {
  const py::array array = py::array::ensure(given);
  const char kind = array ? array.dtype().kind() : 'O';
  if (kind != 'b' && kind != 'i' && kind != 'u' && kind != 'f') {
    PyErr_Clear();
    throw py::type_error(std::string("action_masks: expected booleans, got ") +
                         Py_TYPE(given.ptr())->tp_name);
  }
  if (array.size() != batch * size) {
    throw std::invalid_argument("action_masks: expected [" + std::to_string(batch) +
                                ", " + std::to_string(size) + "], got " +
                                shape_text(array));
  }
  return MaskArray::ensure(array);
}

// One call: arguments checked, arrays kept, rows run.
class Call {
 public:
  Call(const Plan& plan, const py::object& observation, const Drawing& drawing)
      : plan_(plan), head_(plan.program().head), given_(given_of(plan, observation)) {
    if (!drawing.deterministic) {
      check_acting(head_, {nullptr, &draw_});  // before seeds are
      draw_ = draw_of(drawing);
      call_.draw = &draw_;
      if (!drawing.rows.is_none()) {
        rows_ = rows_of(drawing.rows, given_.batch);
        call_.rows = rows_.data();
      }
    }
    if (!drawing.action_masks.is_none()) {
      masks_ = masks_of(drawing.action_masks, given_.batch, head_.size);
      call_.masks = reinterpret_cast<const std::uint8_t*>(masks_->data());
    }
    const std::vector<py::ssize_t> shape = given_.shaped(plan.program().action_shape);
    actions_ = head_.discrete() ? py::array(py::array_t<std::int64_t>(shape))
                                : py::array(FloatArray(shape));
    call_.actions = actions_.mutable_data();
  }

  const Given& given() const { return given_; }
  Acting& acting() { return call_; }
  const py::array& actions() const { return actions_; }

  void run() const {
    check_acting(head_, call_);
    run_rows(plan_, given_.batch, [&](std::int64_t first, std::int64_t count) {
      const std::vector<Observations> inputs = from(plan_, given_.inputs, first);
      Acting part = call_;
      part.inputs = inputs.data();
      part.first = static_cast<std::uint32_t>(first);
      part.states = call_.states.behind(first);
      const std::int64_t actions = first * head_.actions;
      if (call_.rows != nullptr) part.rows += first;
      if (call_.masks != nullptr) part.masks += first * head_.size;
      if (call_.samples != nullptr) part.samples += actions;
      if (call_.log_probs != nullptr) part.log_probs += first;
      if (call_.values != nullptr) {
        const auto value = static_cast<std::size_t>(head_.value);
        part.values += first * plan_.program().outputs[value].second.size;
      }
      const auto bytes = static_cast<std::int64_t>(
          head_.discrete() ? sizeof(std::int64_t) : sizeof(float));
      part.actions = static_cast<char*>(call_.actions) + actions * bytes;
      plan_.act(part, count);
    });
  }

 private:
  const Plan& plan_;
  const Head& head_;
  const Given given_;
  Draw draw_;
  std::vector<std::uint32_t> rows_;
  std::optional<MaskArray> masks_;
  py::array actions_;
  Acting call_;
};

// (actions, the next state).
py::tuple actions_of(const Plan& plan, const py::object& observation,
                     const py::object& state, const py::object& starts,
                     const Drawing& drawing) {
  Call call(plan, observation, drawing);
  const States states(plan, call.given(), state, starts);
  call.acting().states = states.rows();
  call.run();
  return py::make_tuple(call.actions(), states.next(state));
}

// (actions, log-probabilities, values or None, samples before bounds, the next state).
py::tuple sample_of(const Plan& plan, const py::object& observation,
                    const py::object& state, const py::object& starts,
                    const Drawing& drawing) {
  Call call(plan, observation, drawing);
  const States states(plan, call.given(), state, starts);
  call.acting().states = states.rows();
  const Head& head = plan.program().head;
  FloatArray log_probs(call.given().shaped({}));
  call.acting().log_probs = log_probs.mutable_data();
  py::object values = py::none();
  if (head.value >= 0) {
    const std::int64_t size =
        plan.program().outputs[static_cast<std::size_t>(head.value)].second.size;
    FloatArray array(size == 1 ? call.given().shaped({}) : call.given().shaped({size}));
    call.acting().values = array.mutable_data();
    values = array;
  }
  py::array samples = call.actions();
  if (!head.discrete()) {
    FloatArray array(call.given().shaped(plan.program().action_shape));
    call.acting().samples = array.mutable_data();
    samples = array;
  }
  call.run();
  return py::make_tuple(call.actions(), log_probs, values, samples, states.next(state));
}

}  // namespace
