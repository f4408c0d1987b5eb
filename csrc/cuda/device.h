// What the CUDA kernels are written against. Tests compile the same sources for the
// CPU: then their on_cpu.h stands in for the device.
#pragma once

#include <cstdint>

#ifdef __CUDACC__

#define SPARSEAGENT_PRAGMA(text) _Pragma(#text)
#define SPARSEAGENT_UNROLL(n) SPARSEAGENT_PRAGMA(unroll n)

// Threads of a block, and blocks that a multiprocessor must have registers for: with
// one alone ptxas spills around the slow path of a division.
#define SPARSEAGENT_KERNEL __global__ void __launch_bounds__(256, 2)

namespace sparseagent::cuda {

// The bytes of shared memory of this block.
__device__ __forceinline__ char* shared_memory() {
  extern __shared__ float4 sparseagent_shared[];
  return reinterpret_cast<char*>(sparseagent_shared);
}

// Blocks of a cluster: from the architecture sm_90 on. Before that their kernels are
// empty.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

__device__ __forceinline__ std::uint32_t cluster_rank() {
  std::uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

__device__ __forceinline__ std::uint32_t cluster_size() {
  std::uint32_t size;
  asm volatile("mov.u32 %0, %%cluster_nctaid.x;" : "=r"(size));
  return size;
}

// All threads of all blocks, and what they wrote to shared memory.
__device__ __forceinline__ void cluster_barrier() {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// One float to the same place of shared memory of a block of the cluster.
__device__ __forceinline__ void store_at(std::uint32_t rank, char* place, float value) {
  const auto here = static_cast<std::uint32_t>(__cvta_generic_to_shared(place));
  std::uint32_t there;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
               : "=r"(there)
               : "r"(here), "r"(rank));
  asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(there), "f"(value) : "memory");
}

#else

__device__ __forceinline__ std::uint32_t cluster_rank() { return 0; }
__device__ __forceinline__ std::uint32_t cluster_size() { return 1; }
__device__ __forceinline__ void cluster_barrier() {}
__device__ __forceinline__ void store_at(std::uint32_t, char*, float) {}

#endif

}  // namespace sparseagent::cuda

#else

#include "on_cpu.h"

#endif
