// A thread's place in its block and tile, and how it reads and writes the tile.
#pragma once

#include "cuda/device.h"
#include "cuda/net.h"

#define SPARSEAGENT_VEC_HEADER "simd/vec_cuda.h"
#include "simd/formulas.h"

namespace sparseagent::cuda {

// What a lane holds of a place: its V columns.
template <int V>
struct Columns {
  float v[V];
};

template <int V, int G>
struct Block {
  static constexpr int kLanes = Shape{V, G}.lanes();
  static constexpr int kColumns = Shape{V, G}.columns();

  char* tile;
  int lane;    // within its group
  int group;   // of lanes
  int groups;  // of the block
  // Of the cluster; 0 and 1 where there is none.
  std::uint32_t rank = 0;
  std::uint32_t blocks = 1;

  __device__ __forceinline__ explicit Block(char* memory)
      : tile(memory),
        lane(static_cast<int>(threadIdx.x) % kLanes),
        group(static_cast<int>(threadIdx.x) / kLanes),
        groups(static_cast<int>(blockDim.x) / kLanes) {}

  static __device__ __forceinline__ std::uint32_t offset(std::uint32_t place) {
    constexpr Shape shape = {V, G};
    return shape.offset(place);
  }

  // What an offset is turned by for the columns of this lane.
  __device__ __forceinline__ std::uint32_t turn() const {
    return static_cast<std::uint32_t>(lane) * 4u * V;
  }

  // The columns of this lane at a packed offset.
  __device__ __forceinline__ Columns<V> read(std::uint32_t offset) const {
    const char* at = tile + (offset ^ turn());
    Columns<V> c;
    if constexpr (V == 1) {
      c.v[0] = *reinterpret_cast<const float*>(at);
    } else if constexpr (V == 2) {
      const float2 two = *reinterpret_cast<const float2*>(at);
      c.v[0] = two.x;
      c.v[1] = two.y;
    } else {
      const float4 four = *reinterpret_cast<const float4*>(at);
      c.v[0] = four.x;
      c.v[1] = four.y;
      c.v[2] = four.z;
      c.v[3] = four.w;
    }
    return c;
  }

  __device__ __forceinline__ void write(std::uint32_t offset,
                                        const Columns<V>& c) const {
    char* at = tile + (offset ^ turn());
    if constexpr (V == 1) {
      *reinterpret_cast<float*>(at) = c.v[0];
    } else if constexpr (V == 2) {
      *reinterpret_cast<float2*>(at) = float2{c.v[0], c.v[1]};
    } else {
      *reinterpret_cast<float4*>(at) = float4{c.v[0], c.v[1], c.v[2], c.v[3]};
    }
  }

  // One float: place p, column c.
  __device__ __forceinline__ float& at(std::uint32_t p, int c) const {
    const std::uint32_t turned = offset(p) ^ (4u * static_cast<std::uint32_t>(c));
    return *reinterpret_cast<float*>(tile + turned);
  }

  // The j-th of V columns that this lane has where it goes through them one by one.
  __device__ __forceinline__ int column(int j) const { return lane + j * kLanes; }
};

}  // namespace sparseagent::cuda
