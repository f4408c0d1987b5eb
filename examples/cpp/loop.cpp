// A control loop of 1 kHz around a policy file: loop POLICY [SECONDS]
//
// Sleeps until the tick, reads the observation, acts. No call allocates, so nothing in
// the loop waits for another process's memory; what the kernel does to a sleeping
// process remains, and is what the last line shows. Sensors and motors are left to you:
// see observe() and apply().
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <sparseagent.hpp>
#include <vector>

namespace {

constexpr long kPeriodNs = 1000000;

long ns_of(const timespec& time) { return time.tv_sec * 1000000000L + time.tv_nsec; }

long now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return ns_of(time);
}

// The next tick, however long the one before took.
void sleep_until(timespec* tick) {
  tick->tv_nsec += kPeriodNs;
  if (tick->tv_nsec >= 1000000000L) {
    tick->tv_nsec -= 1000000000L;
    ++tick->tv_sec;
  }
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, tick, nullptr);
}

void observe(std::vector<float>* x, int step) {
  for (std::size_t i = 0; i < x->size(); ++i) {
    (*x)[i] = static_cast<float>((step + 7 * i) % 100) * 0.01f;
  }
}

void apply(const std::vector<float>&) {}
void apply(const std::vector<std::int64_t>&) {}

template <typename Action>
void run(const sparseagent::Policy& policy, int steps) {
  std::vector<float> x(static_cast<std::size_t>(policy.input_size()));
  std::vector<Action> action(static_cast<std::size_t>(policy.action_size()));
  std::vector<long> taken(static_cast<std::size_t>(steps));
  int late = 0;
  timespec tick;
  clock_gettime(CLOCK_MONOTONIC, &tick);
  for (int step = 0; step < steps; ++step) {
    sleep_until(&tick);
    observe(&x, step);
    const long start = now();
    policy.act(x.data(), action.data());
    const long end = now();
    apply(action);
    taken[static_cast<std::size_t>(step)] = end - start;
    late += end - ns_of(tick) > kPeriodNs;
  }
  std::sort(taken.begin(), taken.end());
  std::printf("%d ticks of 1 ms, %d late; act: median %.1f us, 99 %% below %.1f us\n",
              steps, late, taken[taken.size() / 2] * 1e-3,
              taken[taken.size() * 99 / 100] * 1e-3);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: loop POLICY [SECONDS]\n");
    return 2;
  }
  const int steps = 1000 * std::max(1, argc > 2 ? std::atoi(argv[2]) : 2);
  try {
    const sparseagent::Policy policy(argv[1]);
    if (policy.inputs() != 1)
      throw sparseagent::Error("expected a policy with one input");
    if (policy.is_discrete()) {
      run<std::int64_t>(policy, steps);
    } else {
      run<float>(policy, steps);
    }
  } catch (const sparseagent::Error& error) {
    std::fprintf(stderr, "loop: %s\n", error.what());
    return 1;
  }
  return 0;
}
