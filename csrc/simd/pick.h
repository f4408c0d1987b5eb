// Rows of numbers: copied, zeroed, or every so-many-th of them taken. They are short,
// so whole vectors are written: up to one beyond the end, where what comes later lies.
#pragma once

#include "simd/vec.h"

namespace {

// Keeps compilers from making calls of the C library of such loops.
inline void no_call() { __asm__ volatile("" ::: "memory"); }

inline void fill(float* to, long count, float value) {
  for (long i = 0; i < count; i += kLanes) {
    store(to + i, splat(value));
    no_call();
  }
}

inline void copy(const float* from, long count, float* to) {
  for (long i = 0; i < count; i += kLanes) {
    store(to + i, load(from + i));
    no_call();
  }
}

// By lookups, where one vector can hold several: two vectors beyond the last number may
// be read. Made once for many rows: which numbers are looked up is written to memory
// and read back.
class Picker {
 public:
  explicit Picker(long step) : step_(step) {
    const int most = static_cast<int>((2 * kLanes - 1) / step) + 1;
    some_ = most < kLanes ? most : kLanes;
    int places[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      places[i] = i < some_ ? static_cast<int>(i * step) : 0;
    }
    place_ = load_bytes(places);
  }

  // to[i] = from[i * step].
  void operator()(const float* from, long count, float* to) const {
    if (step_ == 1) return copy(from, count, to);
    if (kLanes == 1 || step_ > kLanes) {
      for (long i = 0; i < count; ++i) to[i] = from[i * step_];
      return;
    }
    for (long i = 0; i < count; i += some_) {
      const float* here = from + i * step_;
      store(to + i, lookup(load(here), here + kLanes, place_));
    }
  }

 private:
  long step_;
  int some_;
  ivec place_;
};

}  // namespace
