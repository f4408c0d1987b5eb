// The kernels by the shape of their tile: from their sources, or from what nvcc made of
// those (ptx_to_cpp.py).
#pragma once

#include "cuda/net.h"
#include "on_cpu.h"

#ifdef SPARSEAGENT_FROM_PTX
#define SPARSEAGENT_NAME(V, G, C) ptx_forward_##V##_##G##_##C
#define SPARSEAGENT_DECLARE(V, G, C) extern "C" void SPARSEAGENT_NAME(V, G, C)(char*);
SPARSEAGENT_CUDA_KERNELS(SPARSEAGENT_DECLARE)
#else
#include "cuda/fused.h"
#endif

inline bool has_kernel(const sparseagent::cuda::Shape& shape, bool cluster) {
#define SPARSEAGENT_KNOWN(V, G, C) \
  if (shape.vectors == V && shape.groups == G && cluster == C) return true;
  SPARSEAGENT_CUDA_KERNELS(SPARSEAGENT_KNOWN)
  return false;
}

inline void run_kernel(const sparseagent::cuda::Shape& shape, bool cluster,
                       const sparseagent::cuda::Net& net,
                       const sparseagent::cuda::Call& call) {
  struct Parameters {
    sparseagent::cuda::Net net;
    sparseagent::cuda::Call call;
  };
#ifdef SPARSEAGENT_FROM_PTX
  Parameters parameters = {net, call};
#define SPARSEAGENT_RUN(V, G, C) \
  SPARSEAGENT_NAME(V, G, C)(reinterpret_cast<char*>(&parameters))
#else
#define SPARSEAGENT_RUN(V, G, C) sparseagent::cuda::forward<V, G, C>(net, call)
#endif
#define SPARSEAGENT_CHOOSE(V, G, C)                              \
  if (shape.vectors == V && shape.groups == G && cluster == C) { \
    return SPARSEAGENT_RUN(V, G, C);                             \
  }
  SPARSEAGENT_CUDA_KERNELS(SPARSEAGENT_CHOOSE)
}
