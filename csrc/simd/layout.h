// Sizes of packed data.
#pragma once

namespace {

inline long round_up(long n, long unit) { return (n + unit - 1) / unit * unit; }

// A header whose padding is zero too: equal layers must pack to equal bytes.
template <typename Header>
inline Header blank() {
  Header h;
  __builtin_memset(&h, 0, sizeof h);
  return h;
}

}  // namespace
