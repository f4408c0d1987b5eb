// The floating-point mode of this thread: the host may have changed it.
#pragma once

#include <cstdint>

namespace sparseagent {

// While it lives, this thread rounds to nearest, computes with denormals and raises no
// trap: what the bits of a policy are defined by. A host, or a library built with
// -ffast-math, may have set something else, which comes back at the end. The usual mode
// is read, never written.
//
// Compilers move arithmetic freely about it: what it guards must be in another object.
class PlainFloats {
 public:
  PlainFloats() : before_(read()) {
    if ((before_ & kModes) != kPlain) write((before_ & ~kModes) | kPlain);
  }
  ~PlainFloats() {
    if ((before_ & kModes) != kPlain) write(before_);
  }
  PlainFloats(const PlainFloats&) = delete;
  PlainFloats& operator=(const PlainFloats&) = delete;

 private:
#if defined(__x86_64__)
  // MXCSR without the flags of what has happened: denormals are zero, masks of traps,
  // rounding, results flush to zero.
  using Register = unsigned;
  static constexpr Register kModes = 0xffc0;
  static constexpr Register kPlain = 0x1f80;  // all traps masked
  static Register read() { return __builtin_ia32_stmxcsr(); }
  static void write(Register mode) { __builtin_ia32_ldmxcsr(mode); }
#elif defined(__aarch64__)
  // FPCR: alternate behaviours, traps, flush to zero, default NaN, rounding.
  using Register = std::uint64_t;
  static constexpr Register kModes = 0x07c8'9f07;
  static constexpr Register kPlain = 0;
  static Register read() {
    Register mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
  }
  static void write(Register mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }
#else
  using Register = unsigned;
  static constexpr Register kModes = 0;
  static constexpr Register kPlain = 0;
  static Register read() { return 0; }
  static void write(Register) {}
#endif

  const Register before_;
};

}  // namespace sparseagent
