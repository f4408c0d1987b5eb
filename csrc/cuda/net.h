// A program as the device reads it: plain words, built on the host (image.h). Whatever
// `update` changes lies in device memory, as a captured graph keeps its parameters.
#pragma once

#include <cstdint>

#include "core/head.h"
#include "core/observation.h"
#include "core/op.h"

#ifdef __CUDACC__
#define SPARSEAGENT_BOTH __host__ __device__
#else
#define SPARSEAGENT_BOTH
#endif

namespace sparseagent::cuda {

constexpr int kMostSteps = 48;
constexpr int kMostInputs = 16;
constexpr int kMostOutputs = 16;
constexpr int kThreads = 256;  // of a block

// A tile: `32 / groups` lanes with `vectors` observations each; the groups of lanes of
// a warp take a row each. Wide programs need narrow tiles, so that what lives at a time
// fits into shared memory.
struct Shape {
  int vectors;
  int groups;

  SPARSEAGENT_BOTH constexpr int lanes() const { return 32 / groups; }
  SPARSEAGENT_BOTH constexpr int columns() const { return lanes() * vectors; }

  // Bytes from the tile to column 0 of place `p`. Tiles are feature-major; the columns
  // of place p are turned by p, so that walking along places and walking along columns
  // both meet all banks of shared memory. Column c lies at `offset(p) ^ (4 * c)`: the
  // turn is packed with the weights and costs a thread nothing.
  SPARSEAGENT_BOTH constexpr std::uint32_t offset(std::uint32_t p) const {
    const auto turn = p & static_cast<std::uint32_t>(lanes() - 1);
    return 4u * (p * static_cast<std::uint32_t>(columns()) +
                 turn * static_cast<std::uint32_t>(vectors));
  }
};

// All tiles that kernels are built for, from narrow to wide.
constexpr Shape kShapes[] = {{1, 4}, {1, 2}, {1, 1}, {2, 1}, {4, 1}};
constexpr int kShapeCount = sizeof kShapes / sizeof kShapes[0];

// Tiles whose kernels can sample, if no blocks share them: the narrowest and that of 32
// observations. Samplers are large.
SPARSEAGENT_BOTH constexpr bool samples(const Shape& shape) {
  return shape.vectors == 1 && shape.groups != 2;
}

// Blocks of a cluster share a tile whose lanes have one observation: small batches.
constexpr bool clusters(const Shape& shape) { return shape.vectors == 1; }
constexpr int kMostBlocks = 8;

// A row of a layer, longest rows first. Its pairs lie one behind the other; with
// several runs, the ends of those are words.
struct alignas(16) Row {
  float bias;
  std::uint32_t at;     // offset of where it is written
  std::uint32_t first;  // pair
  std::uint32_t end;    // of the pairs; or the first word
};

// Two stored entries of a chain: value, offset of the input. A chain of odd length ends
// with the value 0 at place 0, where zeros are.
struct alignas(16) Pair {
  float value0;
  std::uint32_t at0;
  float value1;
  std::uint32_t at1;
};

// Every kernel: vectors and groups of its tile, and whether blocks share a tile.
#define SPARSEAGENT_CUDA_KERNELS(X) \
  X(1, 4, false)                    \
  X(1, 2, false)                    \
  X(1, 1, false) X(2, 1, false) X(4, 1, false) X(1, 4, true) X(1, 2, true) X(1, 1, true)

enum class StepKind : std::int32_t { observe, linear, map, norm, combine, reduce };

// Bits of a step.
constexpr std::uint32_t kHasLow = 1;    // map
constexpr std::uint32_t kHasHigh = 2;   // map
constexpr std::uint32_t kWeighted = 4;  // map, combine, reduce: words
constexpr std::uint32_t kStrided = 8;   // reduce
constexpr std::uint32_t kCast = 1;      // observe: nothing else
constexpr std::uint32_t kSingle = 2;    // observe: in float, not in double
constexpr std::uint32_t kShifts = 4;    // observe
constexpr std::uint32_t kScales = 8;    // observe
constexpr std::uint32_t kOneScale = 16;
constexpr std::uint32_t kOneHot = 32;  // observe: words (number, category, of how many)
constexpr std::uint32_t kSome = 64;    // observe: numbers that are taken, words at z

struct Step {
  StepKind kind;
  std::uint32_t bits;
  std::int32_t rule;  // NormRule, CombineRule, ReduceRule; observe: the input
  Activation activation;
  float alpha;
  float low;  // map
  float high;
  float eps;
  std::int32_t in;     // features of each read; observe: numbers of the input
  std::int32_t out;    // features of the write
  std::int32_t parts;  // linear: runs; reduce: groups
  std::uint32_t x;     // places: of the reads
  std::uint32_t z;     // of the second read; norm: of 32 to work in; observe: see kSome
  std::uint32_t y;     // of the write
  std::uint32_t rows;  // linear: the first row
  std::uint32_t
      words;  // the first; observe: the first double (low, high, shift, scale)
};

struct Output {
  std::uint32_t place;
  std::int32_t size;
};

struct Net {
  Step steps[kMostSteps];
  Output outputs[kMostOutputs];
  std::int32_t step_count;
  std::int32_t places;  // of a tile; place 0 is the zeros
  Head head;            // its arrays are words
  std::int32_t whole;   // actions are whole numbers
  std::uint32_t room;   // place of what samplers work in
  const Pair* pairs;
  const Row* rows;
  const std::uint32_t* words;
  const double* doubles;

  std::uint32_t tile_bytes(const Shape& shape) const {
    return 4u * static_cast<std::uint32_t>(places * shape.columns());
  }
};

// What is done to the first output.
enum class Acts : std::int32_t {
  none,    // it comes as it is
  mode,    // the deterministic action
  sample,  // a sample, or what is masked, or with its probability
};

// One launch. Outputs that nobody wants are null.
struct Call {
  const void* inputs[kMostInputs];
  void* outputs[kMostOutputs];
  DType dtypes[kMostInputs];
  std::int64_t batch;
  std::int32_t wanted;  // the first outputs
  Acts acts;

  // Of a sample.
  Draw draw;
  std::int32_t draws;      // 0: the mode
  std::int32_t wide_rows;  // int64, not int32
  const void* rows;        // numbers of the environments [batch]; null: 0, 1, ...
  const void* masks;       // [batch, outputs], 0 where not allowed; null: all are
  float* samples;          // [batch, actions], before the bounds; null: unwanted
  float* log_probs;        // [batch]
};

static_assert(sizeof(Net) + sizeof(Call) <= 4096, "CUDA's bound on parameters");

}  // namespace sparseagent::cuda
