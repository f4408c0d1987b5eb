// Whether sharing calls with other threads has paid of late. Beside a busy neighbour it
// does not: a thread that has begun a part and is then kept from running, for some
// milliseconds, must be waited for.
#pragma once

#include <atomic>
#include <cstdint>

namespace sparseagent {

// Keeps an account: what shared calls took against what one thread would have taken.
// Where sharing loses, it rests for several times as long as it lost, longer each time
// in a row. What one thread takes is measured too: the second and third call, then
// every few hundredth, and those during a rest are not shared.
//
// May be used from several threads at a time, which may lose a note: it is only about
// speed.
class Sharing {
 public:
  // Whether a call that starts at `now`, in ns, should be shared.
  bool pays(std::int64_t now);

  // A call that took from `start` to `end`, shared or not, and would take one thread
  // `estimate` by the plan's timing.
  void note(bool shared, std::int64_t start, std::int64_t end, double estimate);

 private:
  void note_alone(double ratio);
  void rest(std::int64_t now, double lost);

  std::atomic<std::uint32_t> calls_{0};
  // ns that one thread takes for each one estimated; 0: not known yet.
  std::atomic<double> pace_{0};
  // What a beginning is trusted with, in ns, and what was saved since, lost time taken
  // off.
  static constexpr double kCredit = 0.5e6;
  std::atomic<double> saved_{kCredit};
  std::atomic<std::int64_t> rest_until_{0};
  std::atomic<std::int64_t> rest_{0};  // the length of the last one
  std::atomic<int> losses_{0};         // rests in a row
};

}  // namespace sparseagent
