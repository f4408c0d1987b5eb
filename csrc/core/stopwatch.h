// Timing of short functions on a machine that does other things too.
#pragma once

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
// clock_ns() says `deadline_ns`; the first is timed in any case. Those that turn out
// hopeless against the fastest leave the race: at first at a factor of 2, later at 1.3.
// Never after one sample, which a single interruption would make hopeless. Before each
// sample a call that is not timed brings back what the others drove out of the caches:
// in use there are no others. Who was not timed at all took infinitely long.
// checkpoint() is called between samples.
template <typename F, typename Checkpoint>
std::vector<double> race(std::size_t count, double deadline_ns, F&& f,
                         Checkpoint&& checkpoint) {
  std::vector<Stopwatch> watches(count);
  std::vector<bool> racing(count, true);
  std::size_t left = count;
  double now = clock_ns();
  for (int round = 0; round == 0 || now < deadline_ns; ++round) {
    double best = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < count; ++i) {
      if (!racing[i] || (i > 0 && now >= deadline_ns)) continue;
      if (round == 0 || left > 1) f(i);
      watches[i].sample([&] { f(i); });
      best = std::min(best, watches[i].ns());
      checkpoint();
      now = clock_ns();
    }
    for (std::size_t i = 0; i < count; ++i) {
      const double hopeless = best * (round < 4 ? 2.0 : 1.3);
      if (!racing[i] || round == 0 || watches[i].ns() <= hopeless) continue;
      racing[i] = false;
      --left;
    }
  }
  std::vector<double> ns;
  for (const Stopwatch& watch : watches) ns.push_back(watch.ns());
  return ns;
}

}  // namespace sparseagent
