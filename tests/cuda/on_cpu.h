// CUDA's names on the CPU: the kernels' own sources, compiled by any C++ compiler.
//
// The threads of a block are fibers that run until a barrier, in a chosen order, so
// that a missing barrier shows as a wrong bit whatever the machine; or they are
// threads, so that ThreadSanitizer sees the race. Shared memory is as large as the
// launch says, ends at a guard page and is filled with signalling NaNs.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __grid_constant__
#define SPARSEAGENT_UNROLL(n)
#define SPARSEAGENT_KERNEL void

struct dim3 {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

namespace on_cpu {

enum class Order { forward, backward, shuffled, threads };

// Of the running CUDA thread.
struct Place {
  dim3 thread;
  dim3 block;
  dim3 grid;
  dim3 size;  // of the block
  unsigned rank = 0;
  unsigned cluster = 1;
  char* shared = nullptr;         // of the block
  char* const* others = nullptr;  // of all blocks of the cluster
};
Place& place();
void barrier(bool of_cluster);

// body() once for each thread of `grid` blocks, of which `cluster` run together. False:
// some threads waited at a barrier that others never came to.
bool launch(unsigned grid, unsigned block, unsigned cluster, std::size_t shared_bytes,
            Order order, const std::function<void()>& body);

}  // namespace on_cpu

#define threadIdx (on_cpu::place().thread)
#define blockIdx (on_cpu::place().block)
#define gridDim (on_cpu::place().grid)
#define blockDim (on_cpu::place().size)

inline void __syncthreads() { on_cpu::barrier(false); }
template <typename T>
inline T __ldg(const T* p) {
  return *p;
}
inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return __builtin_sqrtf(a); }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline float __int2float_rn(int a) { return static_cast<float>(a); }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((static_cast<std::uint64_t>(a) * b) >> 32);
}
inline unsigned __float_as_uint(float a) {
  unsigned b;
  std::memcpy(&b, &a, sizeof b);
  return b;
}
inline float __uint_as_float(unsigned a) {
  float b;
  std::memcpy(&b, &a, sizeof b);
  return b;
}

namespace sparseagent::cuda {

inline char* shared_memory() { return on_cpu::place().shared; }
inline std::uint32_t cluster_rank() { return on_cpu::place().rank; }
inline std::uint32_t cluster_size() { return on_cpu::place().cluster; }
inline void cluster_barrier() { on_cpu::barrier(true); }
inline void store_at(std::uint32_t rank, char* place, float value) {
  const std::ptrdiff_t offset = place - on_cpu::place().shared;
  std::memcpy(on_cpu::place().others[rank] + offset, &value, sizeof value);
}

}  // namespace sparseagent::cuda
