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
#include <string_view>
#include <utility>

#include "bind_act.h"
#include "bind_rows.h"
#include "core/plan.h"
#include "core/stopwatch.h"
#include "policy/read.h"

namespace {

// Calls of a prefetch: the first fetches, the second teaches the branch predictors.
constexpr int kWarmUps = 2;

// Of states that nobody has computed yet.
constexpr std::int64_t kMaxRows = 1 << 24;

class PyPlan {
 public:
  PyPlan(const py::bytes& data, const std::string& isa, const std::string& format,
         int threads, double tune, std::vector<std::vector<std::string>> formats,
         std::vector<double> ns) {
    const auto content = static_cast<std::string_view>(data);
    Plan::Options options{
        isa, format, threads, tune, {std::move(formats), std::move(ns)}};
    {
      Unlocked unlocked;
      options.checkpoint = [&] { unlocked.check_signals(); };
      plan_ =
          std::make_unique<Plan>(read_policy(content.data(), content.size()), options);
    }
    std::int32_t widest = 0;
    for (const Input& input : plan_->program().inputs) {
      widest = std::max(widest, input.step.size);
    }
    ones_ = FloatArray(widest);
    // Not zeros: a kernel that skips them would leave its weights where they are.
    std::fill_n(ones_.mutable_data(), ones_.size(), 1.0f);
    out_ = FloatArray(plan_->output_size());
  }

  const Plan& plan() const { return *plan_; }

  // `numbers`: those of the head that training changes, in order.
  void update(const py::sequence& layers, const FloatArray& numbers) {
    const std::vector<LayerArrays> arrays = layers_of(layers);
    plan_->update(views_of(arrays), numbers.data(), numbers.size());
  }

  // act(observations, out): float32 only, nothing is converted, nothing is allocated.
  void into(const py::array& observations, const py::array& out) const {
    refuse_states();
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
    refuse_states();
    const std::int64_t batch = check_observations(observations);
    std::vector<py::ssize_t> shape = {plan_->output_size()};
    if (observations.ndim() == 2) shape.insert(shape.begin(), batch);
    FloatArray out(shape);
    run({observations.data(), DType::float32}, batch, out.mutable_data());
    return std::move(out);
  }

  // Stable-Baselines3's PolicyPredictor: any numeric type, one observation or a batch.
  py::tuple predict(const py::object& observation, const py::object& state,
                    const py::object& episode_start, const Drawing& drawing) const {
    return actions_of(*plan_, observation, state, episode_start, drawing);
  }

  // What a learner's rollout keeps of a step: (actions, log_probs, values, samples,
  // state).
  py::tuple sample(const py::object& observation, const py::object& state,
                   const py::object& episode_start, bool deterministic,
                   const py::object& action_masks, const py::object& seed,
                   const py::object& step, const py::object& rows) const {
    return sample_of(*plan_, observation, state, episode_start,
                     {deterministic, action_masks, seed, step, rows});
  }

  // Time of each of `calls` actions of a batch, around the C++ call alone:
  // deterministic, or sampled with its log-probability.
  DoubleArray time_act(const py::array& observations, py::ssize_t calls,
                       bool sample) const {
    if (calls < 1) throw std::invalid_argument("calls: expected 1 or more");
    const std::int64_t batch = check_observations(observations);
    const Head& head = plan_->program().head;
    std::vector<std::int64_t> actions(static_cast<std::size_t>(batch * head.actions));
    std::vector<float> log_probs(static_cast<std::size_t>(batch));
    const Observations inputs = {observations.data(), DType::float32};
    Draw draw;
    Acting call;
    call.inputs = &inputs;
    call.actions = actions.data();
    if (sample) {
      call.draw = &draw;
      call.log_probs = log_probs.data();
    }
    DoubleArray ns(calls);
    double* taken = ns.mutable_data();
    for (py::ssize_t i = 0; i < calls; ++i) {
      draw.step += 1;
      const double start = clock_ns();
      plan_->act(call, batch);
      taken[i] = clock_ns() - start;
    }
    return ns;
  }

  // States of 0 for one observation, or for a batch.
  std::shared_ptr<PyState> initial_state(const py::object& batch) const {
    const bool single = batch.is_none();
    const std::int64_t rows = single ? 1 : batch.cast<std::int64_t>();
    if (rows < 1 || rows > kMaxRows) {
      throw std::invalid_argument("batch: expected 1 to 2^24 or None");
    }
    return std::make_shared<PyState>(plan_->state_layout(rows), single);
  }

  // All outputs by their names, and the next state.
  py::tuple step(const py::object& observation, const py::object& state,
                 const py::object& episode_start) const {
    const Given given = given_of(*plan_, observation);
    const States states(*plan_, given, state, episode_start);
    const auto& named = plan_->program().outputs;
    const std::vector<FloatArray> arrays =
        outputs_of(*plan_, given, named.size(), states.rows());
    py::dict all;
    for (std::size_t k = 0; k < named.size(); ++k) {
      all[py::str(named[k].first)] = arrays[k];
    }
    return py::make_tuple(all, states.next(state));
  }

  // The first output for what predict takes: float32 [out] or [B, out].
  py::array first_output(const py::object& observation) const {
    refuse_states();
    return outputs_of(*plan_, given_of(*plan_, observation), 1, {}).front();
  }

  // All outputs by their names.
  py::dict outputs(const py::object& observation) const {
    refuse_states();
    return step(observation, py::none(), py::none())[0];
  }

  // Calls `self`, the plan's own object, as Python would, with arrays of its own: what
  // a call reads is then close to the core, code and branch predictors included. Nobody
  // reads the outputs, but no two threads may write them at once.
  void prefetch(PyObject* self) const {
    plan_->fetch_weights();
    // One array is no observation of several inputs.
    const bool several =
        plan_->program().inputs.size() > 1 || !plan_->program().states.empty();
    if (several || warming_.test_and_set(std::memory_order_acquire)) {
      for (int i = 0; i < (several ? kWarmUps : 1); ++i) warm_up();
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
    const StateLayout layout = plan_->state_layout(batch);
    PyState before(layout, false);
    PyState after(layout, false);
    // Not zeros, which some kernels skip.
    std::fill_n(before.data(), layout.floats(), 0.25f);
    const StateRows states = {before.data(), layout, after.data(), layout};
    Unlocked unlocked;
    for (py::ssize_t i = 0; i < calls; ++i) {
      taken[i] = 0;
      in_slices(*plan_, batch, &unlocked, [&](std::int64_t first, std::int64_t rows) {
        float* y = outputs.data() + first * plan_->output_size();
        const double start = clock_ns();
        const Observations input = from(data, plan_->input_size(), first);
        plan_->forward({&input, &y, 1, states.behind(first)}, rows);
        taken[i] += clock_ns() - start;
      });
      unlocked.check_signals();
    }
    return ns;
  }

 private:
  // To forget a state silently would give wrong outputs.
  void refuse_states() const {
    if (plan_->program().states.empty()) return;
    throw std::invalid_argument(
        "act: the policy is recurrent: expected predict or step, which take a state");
  }

  // A call past Python, into memory of the calling thread.
  void warm_up() const {
    thread_local Buffer outputs;
    const std::size_t bytes = sizeof(float) * static_cast<std::size_t>(out_.size());
    if (outputs.bytes() < bytes) outputs = Buffer(bytes);
    const std::vector<Observations> inputs(plan_->program().inputs.size(),
                                           {ones_.data(), DType::float32});
    float* y = outputs.floats();
    run_rows(*plan_, 1, [&](std::int64_t, std::int64_t rows) {
      plan_->forward({inputs.data(), &y, 1}, rows);
    });
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
    run_rows(*plan_, batch, [&](std::int64_t first, std::int64_t rows) {
      plan_->forward(from(observations, plan_->input_size(), first), rows,
                     out + first * plan_->output_size());
    });
  }

  std::int64_t check_observations(const py::array& observations) const {
    if (!plan_->one_input()) {
      throw py::type_error("observations: expected a dict of arrays, got one array");
    }
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

  std::unique_ptr<Plan> plan_;
  // Arguments of the calls that prefetch() makes.
  FloatArray ones_;
  FloatArray out_;
  mutable std::atomic_flag warming_ = ATOMIC_FLAG_INIT;  // a thread is making them
};

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
  const Schedule& schedule = plan.plan().schedule();
  py::dict costs;
  for (std::size_t r = 0; r < schedule.regimes().size(); ++r) {
    const Regime& regime = schedule.regimes()[r];
    costs[py::str(regime.name())] = py::make_tuple(regime.columns, schedule.ns()[r]);
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
  const Schedule& schedule = plan.plan().schedule();
  py::list cuts;
  while (batch > 0) {
    const Cut cut = schedule.cover().next(batch);
    const auto regime = static_cast<std::size_t>(cut.regime);
    cuts.append(py::make_tuple(schedule.regimes()[regime].name(), cut.count));
    batch -= cut.count;
  }
  return cuts;
}

}  // namespace
