#include "core/cpu.h"

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace sparseagent {
namespace {

struct Feature {
  const char* name;
  bool present;
};

#if defined(__x86_64__)

// XCR0: the register state that the operating system saves on a context switch.
std::uint64_t saved_state() {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<std::uint64_t>(high) << 32) | low;
}

bool lookup(const char* name, std::size_t length) {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return false;
  const unsigned leaf1_c = c;
  const bool os_saves = (leaf1_c >> 27) & 1;  // OSXSAVE: xgetbv may be used
  const std::uint64_t state = os_saves ? saved_state() : 0;
  const bool ymm = (state & 0x06) == 0x06;
  const bool zmm = (state & 0xe6) == 0xe6;
  unsigned leaf7_b = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) leaf7_b = b;
  const Feature features[] = {
      {"fma", ymm && ((leaf1_c >> 12) & 1)},
      {"avx2", ymm && ((leaf7_b >> 5) & 1)},
      {"avx512f", zmm && ((leaf7_b >> 16) & 1)},
      {"avx512dq", zmm && ((leaf7_b >> 17) & 1)},
      {"avx512bw", zmm && ((leaf7_b >> 30) & 1)},
      {"avx512vl", zmm && ((leaf7_b >> 31) & 1)},
  };
#elif defined(__aarch64__)

bool lookup(const char* name, std::size_t length) {
  const Feature features[] = {{"asimd", true}};  // part of every AArch64 Linux machine
#else

bool lookup(const char* name, std::size_t length) {
  const Feature features[] = {{"", false}};
#endif
  for (const Feature& feature : features) {
    if (std::strlen(feature.name) == length &&
        std::memcmp(feature.name, name, length) == 0) {
      return feature.present;
    }
  }
  return false;
}

}  // namespace

bool cpu_has(const char* features) {
  while (*features != '\0') {
    const std::size_t length = std::strcspn(features, " ");
    if (length > 0 && !lookup(features, length)) return false;
    features += length + (features[length] == ' ' ? 1 : 0);
  }
  return true;
}

}  // namespace sparseagent
