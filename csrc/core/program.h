// What a policy computes: slots, the ops that fill them in order, named outputs.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/head.h"
#include "core/observation.h"
#include "core/op.h"

namespace sparseagent {

enum class OpKind : std::int32_t {
#define SPARSEAGENT_OP(name) name,
#include "core/ops.def"
#undef SPARSEAGENT_OP
};

constexpr const char* kOpKinds[] = {
#define SPARSEAGENT_OP(name) #name,
#include "core/ops.def"
#undef SPARSEAGENT_OP
};

// A matrix with a bias and an activation, which kernels are packed for.
constexpr bool is_layer(OpKind kind) {
  return kind == OpKind::linear || kind == OpKind::conv2d;
}

// Features [start, start + size) of a slot.
struct Span {
  std::int32_t slot;
  std::int32_t start;
  std::int32_t size;
};

struct Op {
  OpKind kind = OpKind::linear;
  std::vector<Span> reads;  // one behind the other
  Span write = {0, 0, 0};
  std::int32_t input = 0;  // observe: which
  LayerView layer = {};    // linear, conv2d
  OpView view;             // the others
};

// An array that the environment hands out, and what is done to it.
struct Input {
  std::string name;
  std::vector<std::int64_t> shape;
  ObservationStep step;
};

constexpr std::size_t kMostOps = 4096;
// Of all slots together: what one observation may take, beside its weights.
constexpr std::int64_t kMostFeatures = 1 << 22;
constexpr std::size_t kMostSlots = 2 * kMostOps;
// Features that all ops together read: the work of one observation, beside its weights.
constexpr std::int64_t kMostReads = 1 << 24;
// What the windows of all ops do for one observation: multiply, or compare.
constexpr std::int64_t kMostWork = std::int64_t{1} << 28;
// More of them nobody needs, and pointers to them fit on a stack.
constexpr std::size_t kMostInputs = 64;
constexpr std::size_t kMostOutputs = 64;

// Everything in it was checked: sizes, indices, finite numbers, and that a feature is
// written once, before it is read.
struct Program {
  std::vector<std::int32_t> slots;  // features of each
  std::vector<Input> inputs;
  std::vector<Op> ops;
  std::vector<std::pair<std::string, Span>> outputs;  // the first is the action's
  Head head;
  std::vector<std::int64_t> action_shape;
  std::string order;
  // What the layers, and what the other ops point to.
  std::vector<std::shared_ptr<const void>> layer_memory;
  std::vector<std::shared_ptr<const void>> memory;
};

}  // namespace sparseagent
