// From outputs to actions: the head over the rows of a batch.
#pragma once

#include <cstdint>

#include "core/kernel.h"
#include "core/observation.h"

namespace sparseagent {

// What a call of Plan::act is given, and where it puts what it gives; null for what
// nobody wants.
struct Acting {
  const Observations* inputs = nullptr;  // of every input [batch, *shape]
  // To sample; null for the deterministic action. `rows` are the numbers of the
  // environments [batch], which need not be in order; null: `first`, the next, ...
  const Draw* draw = nullptr;
  const std::uint32_t* rows = nullptr;
  std::uint32_t first = 0;
  const std::uint8_t* masks = nullptr;  // [batch, outputs], 0 where not allowed

  void* actions = nullptr;     // int64 or float [batch, actions], as the head says
  float* samples = nullptr;    // of a continuous head [batch, actions], before bounds
  float* log_probs = nullptr;  // [batch]
  float* values = nullptr;     // [batch, size], the output named value
};

// Rows of a call whose outputs are there, row-major.
struct HeadRows {
  std::int64_t first;  // which row of the call is the first
  std::int64_t count;
  float* y;  // [count, size]; masks are applied to it, and it may be where actions go
  const float* parameter;  // [count, features], log_std or latent, with padding
};

// The rest of a call for one instruction set, which needs a workspace of so many
// floats.
std::int64_t head_workspace(const Head& head, std::int64_t parameter);
void act_on(const Isa& isa, const Head& head, std::int32_t parameter,
            const Acting& call, const HeadRows& rows, float* workspace);

// Throws std::invalid_argument, naming what the head cannot give or take.
void check_acting(const Head& head, const Acting& call);

}  // namespace sparseagent
