// The part of the exactness test that samples.
#pragma once

#include <cstdint>

struct HeadResults {
  std::uint64_t digest;
  long passed;
  long failed;
};

// Heads of every kind of the table with random numbers, on every instruction set and in
// batches of 1 to 40, against the scalar one. `digest` goes on from the given one.
HeadResults check_heads(int cases, std::uint64_t digest);
