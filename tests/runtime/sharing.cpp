// The account of whether sharing pays, on a clock of this program's own. Exits with 0
// if all is as the checks say, else with the number of the first that failed.
#include "core/sharing.h"

#include <cstdint>

using sparseagent::Sharing;

namespace {

constexpr double kEstimate = 100e3;  // of a call on one thread, ns

struct Outcome {
  int calls = 0;
  int shared = 0;
  double taken = 0;
};

// Calls until `end`; `alone` and `shared` are what they take.
Outcome calls(Sharing* sharing, std::int64_t* now, std::int64_t end, double alone,
              double shared) {
  Outcome outcome;
  while (*now < end) {
    const std::int64_t start = *now;
    const bool shares = sharing->pays(start);
    const double taken = shares ? shared : alone;
    *now += static_cast<std::int64_t>(taken);
    sharing->note(shares, start, *now, kEstimate);
    ++outcome.calls;
    outcome.shared += shares;
    outcome.taken += taken;
  }
  return outcome;
}

int check() {
  constexpr std::int64_t kSecond = 1000000000;
  Sharing sharing;
  std::int64_t now = kSecond;
  // 1: the estimate is wrong by half, but sharing pays: nearly all calls are shared.
  Outcome outcome = calls(&sharing, &now, now + kSecond, 1.5 * kEstimate, kEstimate);
  if (outcome.shared < 0.99 * outcome.calls) return 1;
  // 2: a neighbour comes, calls that are shared take 5 ms: they soon end.
  calls(&sharing, &now, now + kSecond, 1.5 * kEstimate, 5e6);
  outcome = calls(&sharing, &now, now + 10 * kSecond, 1.5 * kEstimate, 5e6);
  if (outcome.shared > 25 || outcome.shared < 2) return 2;
  // 3: it goes: within two seconds nearly all are shared again.
  calls(&sharing, &now, now + 2 * kSecond, 1.5 * kEstimate, kEstimate);
  outcome = calls(&sharing, &now, now + 10 * kSecond, 1.5 * kEstimate, kEstimate);
  if (outcome.shared < 0.99 * outcome.calls) return 3;
  // 4: sharing is a little slower: most calls are done alone, at less than 5 % more.
  calls(&sharing, &now, now + kSecond, 1.5 * kEstimate, 1.7 * kEstimate);
  outcome = calls(&sharing, &now, now + 10 * kSecond, 1.5 * kEstimate, 1.7 * kEstimate);
  if (outcome.taken > 1.05 * 1.5 * kEstimate * outcome.calls) return 4;
  // 5: a single interruption of 5 ms costs no more than a tenth of a second.
  calls(&sharing, &now, now + 5 * kSecond, 1.5 * kEstimate, kEstimate);
  const std::int64_t start = now;
  calls(&sharing, &now, now + 1, 5e6, 5e6);
  outcome = calls(&sharing, &now, start + kSecond, 1.5 * kEstimate, kEstimate);
  if (outcome.shared < 0.85 * outcome.calls) return 5;
  // 6: both become slower, as at a lower clock: sharing still pays.
  calls(&sharing, &now, now + kSecond, 6 * kEstimate, 4 * kEstimate);
  outcome = calls(&sharing, &now, now + 10 * kSecond, 6 * kEstimate, 4 * kEstimate);
  return outcome.shared < 0.98 * outcome.calls ? 6 : 0;
}

}  // namespace

int main() { return check(); }
