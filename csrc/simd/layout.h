// Sizes of packed data.
#pragma once

namespace {

inline long round_up(long n, long unit) { return (n + unit - 1) / unit * unit; }

}  // namespace
