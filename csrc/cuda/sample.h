// Heads that sample, and what is masked: a thread takes an observation, by the
// functions of the CPU (simd/heads.h). The numbers it works on lie behind each other in
// the tile's room, features in rows, no longer turned.
#pragma once

#include "cuda/block.h"
#include "cuda/head.h"
#include "simd/heads.h"

namespace sparseagent::cuda {

// The logit of what is masked, as sb3-contrib has it.
constexpr float kMasked = -1e8f;

// Where a thread's numbers are; every `width`-th float is its own.
struct Room {
  float* y;          // [size]
  float* parameter;  // [features]
  float* action;     // [actions]
  float* scratch;    // 2 * size floats side by side
};

template <int V, int G>
__device__ __forceinline__ Room room_of(const Net& net, const Block<V, G>& block,
                                        int c) {
  constexpr int kWidth = Block<V, G>::kColumns;
  const Head& head = net.head;
  auto* first = reinterpret_cast<float*>(block.tile) + net.room * kWidth;
  const int features = head.parameter < 0 ? 0 : net.outputs[head.parameter].size;
  Room room;
  room.y = first + c;
  room.parameter = room.y + head.size * kWidth;
  room.action = room.parameter + features * kWidth;
  room.scratch =
      first + (head.size + features + head.actions) * kWidth + 2 * head.size * c;
  return room;
}

template <int V, int G>
__device__ __forceinline__ void gather(const Net& net, const Call& call,
                                       const Block<V, G>& block, const Room& room,
                                       int c, std::int64_t row) {
  constexpr int kWidth = Block<V, G>::kColumns;
  const Head& head = net.head;
  const auto* masks = static_cast<const std::uint8_t*>(call.masks);
  for (int i = 0; i < head.size; ++i) {
    float y = block.at(net.outputs[0].place + static_cast<std::uint32_t>(i), c);
    y = canonical(vec{y}).v;
    if (masks != nullptr && masks[row * head.size + i] == 0) y = kMasked;
    room.y[i * kWidth] = y;
  }
  if (head.parameter < 0) return;
  const Output& given = net.outputs[head.parameter];
  for (int i = 0; i < given.size; ++i) {
    const float x = block.at(given.place + static_cast<std::uint32_t>(i), c);
    room.parameter[i * kWidth] = canonical(vec{x}).v;
  }
}

// The mode of a discrete head, before the starts.
template <int kWidth>
__device__ __forceinline__ void take_modes(const Head& head, const Room& room) {
  const float* y = room.y;
  for (int a = 0; a < head.actions; ++a) {
    if (head.sizes == nullptr) {
      room.action[a * kWidth] = y[a * kWidth] > 0.0f ? 1.0f : 0.0f;
      continue;
    }
    const int n = head.sizes[a];
    int best = 0;
    for (int i = 1; i < n && y[best * kWidth] == y[best * kWidth]; ++i) {
      if (!(y[i * kWidth] <= y[best * kWidth])) best = i;
    }
    room.action[a * kWidth] = static_cast<float>(best);
    y += n * kWidth;
  }
}

template <int kWidth>
__device__ __forceinline__ void put_actions(const Net& net, const Call& call,
                                            const Room& room, std::int64_t row) {
  const Head& head = net.head;
  for (int a = 0; a < head.actions; ++a) {
    const float action = canonical(vec{room.action[a * kWidth]}).v;
    const std::int64_t at = row * head.actions + a;
    if (net.whole != 0) {
      const int start = head.starts == nullptr ? 0 : head.starts[a];
      static_cast<std::int64_t*>(call.outputs[0])[at] =
          static_cast<std::int64_t>(static_cast<int>(action)) + start;
      continue;
    }
    if (call.samples != nullptr) call.samples[at] = action;
    const float bound = bounded_action(head, a, action);
    static_cast<float*>(call.outputs[0])[at] = canonical(vec{bound}).v;
  }
}

template <int V, int G>
__device__ __forceinline__ void sample(const Net& net, const Call& call,
                                       const Block<V, G>& block, std::int64_t first,
                                       int count) {
  constexpr int kWidth = Block<V, G>::kColumns;
  for (int c = static_cast<int>(threadIdx.x); c < count;
       c += static_cast<int>(blockDim.x)) {
    const std::int64_t row = first + c;
    const Room room = room_of(net, block, c);
    gather(net, call, block, room, c, row);
    if (net.whole != 0) take_modes<kWidth>(net.head, room);
    auto number = static_cast<std::uint32_t>(row);
    if (call.rows != nullptr) {
      number = call.wide_rows != 0
                   ? static_cast<std::uint32_t>(
                         static_cast<const std::int64_t*>(call.rows)[row])
                   : static_cast<const std::uint32_t*>(call.rows)[row];
    }
    float log_prob = 0.0f;
    const HeadBatch batch = {room.y,      room.parameter,
                             &number,     call.draws != 0 ? &call.draw : nullptr,
                             room.action, &log_prob,
                             room.scratch};
    act_on_lanes(net.head, batch, kWidth);
    put_actions<kWidth>(net, call, room, row);
    if (call.log_probs != nullptr) call.log_probs[row] = canonical(vec{log_prob}).v;
  }
}

// What leaves the tile. Samplers are large: one kernel in two has none.
template <bool kSamples, int V, int G>
__device__ __forceinline__ void finish(const Net& net, const Call& call,
                                       const Block<V, G>& block, std::int64_t first,
                                       int count) {
  if constexpr (kSamples) {
    if (call.acts == Acts::sample) sample(net, call, block, first, count);
  }
  for (int k = call.acts == Acts::sample ? 1 : 0; k < call.wanted; ++k) {
    if (call.outputs[k] == nullptr) continue;
    const bool acts = k == 0 && call.acts == Acts::mode;
    if (acts && net.whole != 0) {
      take_mode(net, block, first, count, static_cast<std::int64_t*>(call.outputs[k]));
    } else {
      copy_output(net, net.outputs[k], acts, block, first, count,
                  static_cast<float*>(call.outputs[k]));
    }
  }
}

}  // namespace sparseagent::cuda
