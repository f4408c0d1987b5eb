// Timing of short functions on a machine that does other things too.
#pragma once

#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <limits>
#include <vector>

namespace sparseagent {

inline double clock_ns() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double, std::nano>(now).count();
}

// Time that this thread has had the processor, in ns: budgets are kept in it, as what
// others take away would leave nothing to measure in.
inline double own_ns() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

// The least time of one call, in ns: interruptions only add. Samples of several calls,
// so that the clock, which takes tens of ns itself, does not matter.
class Stopwatch {
 public:
  template <typename F>
  void sample(F&& f) {
    const double start = clock_ns();
    for (int i = 0; i < calls_; ++i) f();
    const double taken = clock_ns() - start;
    best_ = std::min(best_, taken / calls_);
    if (taken < 2000) calls_ *= 2;
  }
  double ns() const { return best_; }

 private:
  double best_ = std::numeric_limits<double>::infinity();
  int calls_ = 1;
};

// Times f(0), f(1), ... in turns, so that a disturbance hits all of them, until
// own_ns() says `deadline_ns`; three rounds at least, for the first ones find the
// weights of a large network in memory. Those that turn out hopeless against the
// fastest leave the race: at first at a factor of 2, later at 1.3. Never after one
// sample, which a single interruption would make hopeless.
template <typename F>
std::vector<double> race(std::size_t count, double deadline_ns, F&& f) {
  std::vector<Stopwatch> watches(count);
  std::vector<bool> racing(count, true);
  for (int round = 0; round < 3 || own_ns() < deadline_ns; ++round) {
    double best = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < count; ++i) {
      if (!racing[i]) continue;
      if (round == 0) f(i);  // touch the data
      watches[i].sample([&] { f(i); });
      best = std::min(best, watches[i].ns());
    }
    for (std::size_t i = 0; i < count; ++i) {
      const double hopeless = best * (round < 4 ? 2.0 : 1.3);
      if (round > 0 && watches[i].ns() > hopeless) racing[i] = false;
    }
  }
  std::vector<double> ns;
  for (const Stopwatch& watch : watches) ns.push_back(watch.ns());
  return ns;
}

}  // namespace sparseagent
