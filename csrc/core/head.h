// The action head as plain data: from the network's outputs to the action. Files
// compiled for one instruction set see nothing else of it.
#pragma once

#include <cstdint>

namespace sparseagent {

enum class HeadKind : std::int32_t {
#define SPARSEAGENT_HEAD(name) name,
#include "core/heads.def"
#undef SPARSEAGENT_HEAD
};

constexpr const char* kHeadKinds[] = {
#define SPARSEAGENT_HEAD(name) #name,
#include "core/heads.def"
#undef SPARSEAGENT_HEAD
};

// Words that one row can draw at one step: 2^24 blocks of four.
constexpr std::int64_t kMaxDraws = 1 << 26;

// Non-owning; checked by the reader. Arrays of floats have kWidthPadding more behind
// them.
struct Head {
  HeadKind kind = HeadKind::raw;
  std::int32_t size = 0;     // features of the first output
  std::int32_t actions = 0;  // numbers of one action

  // Continuous actions. What is done to a sample: raw, clip or unscale.
  HeadKind bounds = HeadKind::raw;
  const float* low = nullptr;  // [size]
  const float* high = nullptr;
  bool squash = false;  // its tanh, before that
  float eps = 0;

  // diag_gaussian: logarithms of the deviations [size], or null where an output holds
  // them; and what they are clamped to.
  const float* log_std = nullptr;
  float log_std_low = -87;
  float log_std_high = 88;

  // gsde: deviations [latent, size], their squares, and the steps for which a matrix
  // holds, 0 for ever.
  const float* std = nullptr;
  const float* variance = nullptr;
  std::int32_t latent = 0;
  std::int32_t resample = 1;

  // Discrete actions: choices of so many, and the action of each one's first output.
  const std::int32_t* sizes = nullptr;  // [actions], of argmax and the categorical ones
  const std::int32_t* starts = nullptr;
  float epsilon = 0;  // epsilon_greedy

  // Numbers of outputs: log_std or latent, and value; -1 where there is none.
  std::int32_t parameter = -1;
  std::int32_t value = -1;

  // Whether actions are whole numbers, int64.
  bool discrete() const { return sizes != nullptr || kind == HeadKind::bernoulli; }
  bool samples() const { return kind > HeadKind::unscale; }
  bool takes_masks() const {
    return kind == HeadKind::categorical || kind == HeadKind::multi_categorical;
  }
};

// Where random numbers come from: a function of this, the row and what is drawn.
struct Draw {
  std::uint64_t seed = 0;
  std::uint64_t step = 0;
};

// Rows of one call, feature-major: a tile of as many columns as an instruction set has
// lanes, or one row of width 1. Arrays have kWidthPadding more floats behind them.
struct HeadBatch {
  const float* y;             // [size, width], the first output
  const float* parameter;     // log_std [size, width] or latent [latent, width]
  const std::uint32_t* rows;  // [width], of the environment
  const Draw* draw;           // null: the mode, of which the probability is wanted
  float* action;    // [actions, width], samples or indices; the modes of a discrete
                    // head are there before
  float* log_prob;  // [width]
  float* scratch;   // head_scratch(head) floats
};

// Floats that the kernels of any instruction set may need.
constexpr std::int64_t head_scratch(const Head& head) {
  constexpr std::int64_t kLanes = 16;
  constexpr std::int64_t kPadding = 64;
  return (2 * std::int64_t{head.size} + kPadding) * kLanes +
         std::int64_t{head.latent} * head.size + 4 * kPadding;
}

// Samplers for one instruction set, scalar included: that one is the contract. They
// check, allocate and throw nothing.
struct HeadKernel {
  std::int32_t lanes;
  void (*one)(const Head& head, const HeadBatch& batch);
  void (*tile)(const Head& head, const HeadBatch& batch);
  // tanh of `count` numbers, in place.
  void (*squash)(float* x, std::int64_t count);
  // What samples are made of, by itself: words of a row from a block on, the normal
  // numbers of words, logarithms in place.
  void (*words)(const Draw& draw, std::uint32_t stream, std::uint32_t block,
                std::uint32_t row, std::int64_t count, std::uint32_t* words);
  void (*normals)(const std::uint32_t* words, std::int64_t count, float* z);
  void (*logarithms)(float* x, std::int64_t count);
};

}  // namespace sparseagent
