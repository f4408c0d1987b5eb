// All that nvcc compiles: the kernels, and the driver by CUDA's runtime.
#include <cuda_runtime.h>

#include <stdexcept>
#include <utility>

#include "cuda/driver.h"
#include "cuda/fused.h"

namespace sparseagent::cuda {
namespace {

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(error));
}

using Kernel = void (*)(Net, Call);

Kernel kernel_of(const Shape& shape, bool cluster) {
#define SPARSEAGENT_CHOOSE(V, G, C)                              \
  if (shape.vectors == V && shape.groups == G && cluster == C) { \
    return forward<V, G, C>;                                     \
  }
  SPARSEAGENT_CUDA_KERNELS(SPARSEAGENT_CHOOSE)
#undef SPARSEAGENT_CHOOSE
  throw std::runtime_error("CUDA: no kernel for this tile");
}

cudaStream_t handle(void* stream) { return static_cast<cudaStream_t>(stream); }

class Event {
 public:
  explicit Event(unsigned flags) { check(cudaEventCreateWithFlags(&event_, flags)); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { cudaEventDestroy(event_); }
  operator cudaEvent_t() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, device));
  return value;
}

}  // namespace

int device_count(std::string* reason) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaSuccess && count > 0) return count;
  cudaGetLastError();  // it stays set otherwise
  const bool none = error == cudaErrorNoDevice || error == cudaSuccess;
  int driver = 0;
  cudaDriverGetVersion(&driver);
  *reason = none          ? "no GPU was found"
            : driver == 0 ? "no NVIDIA driver was found"
                          : cudaGetErrorString(error);
  return 0;
}

Device describe(int device) {
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, device));
  Device d;
  d.name = properties.name;
  d.major = properties.major;
  d.minor = properties.minor;
  d.multiprocessors = properties.multiProcessorCount;
  d.shared_bytes = static_cast<std::size_t>(
      attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  d.memory = properties.totalGlobalMem;
  return d;
}

int array_device() { return 2; }

int device_of(const void* data) {
  cudaPointerAttributes found;
  if (cudaPointerGetAttributes(&found, data) != cudaSuccess) {
    cudaGetLastError();
    return -1;
  }
  const bool on_device =
      found.type == cudaMemoryTypeDevice || found.type == cudaMemoryTypeManaged;
  return on_device ? found.device : -1;
}

Current::Current(int device) {
  check(cudaGetDevice(&before_));
  if (device != before_) check(cudaSetDevice(device));
}
Current::~Current() { cudaSetDevice(before_); }

Memory::Memory(std::size_t bytes) { check(cudaMalloc(&data_, bytes > 0 ? bytes : 16)); }
Memory::Memory(Memory&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
Memory& Memory::operator=(Memory&& other) noexcept {
  std::swap(data_, other.data_);
  return *this;
}
Memory::~Memory() { cudaFree(data_); }

void copy_in(void* to, const void* from, std::size_t bytes, void* stream) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, handle(stream)));
}

void synchronise(void* stream) { check(cudaStreamSynchronize(handle(stream))); }

void* take(std::size_t bytes, void* stream) {
  void* data = nullptr;
  check(cudaMallocAsync(&data, bytes > 0 ? bytes : 16, handle(stream)));
  return data;
}

void give_back(void* data, int device, void* stream) noexcept {
  int before = 0;
  if (data == nullptr || cudaGetDevice(&before) != cudaSuccess) return;
  cudaSetDevice(device);
  cudaFreeAsync(data, handle(stream));
  cudaSetDevice(before);
}

void wait_for(void* later, void* stream) {
  if (later == stream) return;
  const Event event(cudaEventDisableTiming);
  check(cudaEventRecord(event, handle(stream)));
  check(cudaStreamWaitEvent(handle(later), event));
}

// An empty batch: the first launch of a kernel may load its code, which no capture
// allows.
void prepare(const Shape& shape, bool cluster, std::uint32_t shared_bytes) {
  const auto kernel = reinterpret_cast<const void*>(kernel_of(shape, cluster));
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(shared_bytes)));
  Net net = {};
  net.places = 1;
  const unsigned blocks = cluster ? 2 : 1;
  launch(shape, blocks, blocks, net, {}, nullptr);
  synchronise(nullptr);
}

void launch(const Shape& shape, unsigned cluster, unsigned blocks, const Net& net,
            const Call& call, void* stream) {
  cudaLaunchAttribute attribute;
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim = {cluster, 1, 1};
  cudaLaunchConfig_t config = {};
  config.gridDim = blocks;
  config.blockDim = kThreads;
  config.dynamicSmemBytes = net.tile_bytes(shape);
  config.stream = handle(stream);
  config.attrs = &attribute;
  config.numAttrs = cluster > 1 ? 1 : 0;
  check(cudaLaunchKernelEx(&config, kernel_of(shape, cluster > 1), net, call));
}

std::vector<double> time_each(std::size_t calls, void* stream,
                              const std::function<void()>& work) {
  const Event start(cudaEventDefault);
  const Event end(cudaEventDefault);
  std::vector<double> ns;
  for (std::size_t i = 0; i < calls; ++i) {
    check(cudaEventRecord(start, handle(stream)));
    work();
    check(cudaEventRecord(end, handle(stream)));
    check(cudaEventSynchronize(end));
    float ms = 0;
    check(cudaEventElapsedTime(&ms, start, end));
    ns.push_back(1e6 * static_cast<double>(ms));
  }
  return ns;
}

}  // namespace sparseagent::cuda
