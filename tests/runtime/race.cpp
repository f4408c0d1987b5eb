// A race in which the fastest is interrupted in its first sample. Exits with 0 if it
// was timed as the fastest nevertheless.
#include "core/stopwatch.h"

namespace {

void busy(double ns) {
  const double end = sparseagent::clock_ns() + ns;
  while (sparseagent::clock_ns() < end) {
  }
}

}  // namespace

int main() {
  int calls = 0;
  const auto run = [&](std::size_t i) {
    // The first call touches the data, the second is the first sample.
    if (i == 0 && ++calls == 2) busy(1e6);
    busy(i == 0 ? 2e3 : 20e3);
  };
  const auto ns = sparseagent::race(2, sparseagent::clock_ns() + 5e6, run, [] {});
  return ns[0] < ns[1] ? 0 : 1;
}
