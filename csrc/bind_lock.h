// Working without the interpreter's lock. Part of bind.cpp, which alone includes it.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <utility>

namespace py = pybind11;

// Does not return where the interpreter has ended; see bind_lock.cpp.
void take_lock(PyThreadState* state);

namespace {

// The lock is given up from the constructor to the destructor.
class Unlocked {
 public:
  Unlocked() : state_(PyEval_SaveThread()) {}
  ~Unlocked() {
    if (state_ != nullptr) take_lock(state_);
  }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

  // To be called often: every kPatience it runs the handlers of the signals that have
  // come. Throws what they raise; the lock is then held again.
  void check_signals() {
    if (Clock::now() - checked_ < kPatience) return;
    take_lock(std::exchange(state_, nullptr));
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    state_ = PyEval_SaveThread();
    checked_ = Clock::now();
  }

 private:
  using Clock = std::chrono::steady_clock;
  // Waiting for the lock may take 5 ms where other threads are busy.
  static constexpr std::chrono::milliseconds kPatience{100};

  PyThreadState* state_;  // null: the lock is held
  Clock::time_point checked_ = Clock::now();
};

}  // namespace
