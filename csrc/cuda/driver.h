// What a plan asks of the device, by CUDA's runtime (kernels.cu). No CUDA header is
// needed to include it, and tests put the CPU in its place. Whatever fails throws
// std::runtime_error with CUDA's own words.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "cuda/net.h"

namespace sparseagent::cuda {

struct Device {
  std::string name;
  int major = 0;  // of the compute capability
  int minor = 0;
  int multiprocessors = 0;
  std::size_t shared_bytes = 0;  // that a block may have
  std::size_t memory = 0;
  bool has_clusters() const { return major >= 9; }
};

// How many devices there are; 0 says why in `reason`.
int device_count(std::string* reason);
Device describe(int device);

// What DLPack calls memory of the device: 2; in tests 1, the CPU.
int array_device();

// The device that this memory is on; -1: on none.
int device_of(const void* data);

// While it lives, `device` is current in this thread.
class Current {
 public:
  explicit Current(int device);
  ~Current();
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;

 private:
  int before_;
};

// Memory of the device that is current when it is made.
class Memory {
 public:
  Memory() = default;
  explicit Memory(std::size_t bytes);
  Memory(Memory&& other) noexcept;
  Memory& operator=(Memory&& other) noexcept;
  ~Memory();
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
};

// All below are for the current device. Streams are CUDA's handles; null is the legacy
// default stream.

// In the order of the stream; `from` may be reused when it returns.
void copy_in(void* to, const void* from, std::size_t bytes, void* stream);
void synchronise(void* stream);

// Memory in the order of a stream, for results.
void* take(std::size_t bytes, void* stream);
void give_back(void* data, int device, void* stream) noexcept;

// `later` waits for what has been given to `stream` so far.
void wait_for(void* later, void* stream);

// Loads the kernel and lets it have that much shared memory.
void prepare(const Shape& shape, bool cluster, std::uint32_t shared_bytes);

// Neither allocates nor waits. `blocks` is a multiple of `cluster`.
void launch(const Shape& shape, unsigned cluster, unsigned blocks, const Net& net,
            const Call& call, void* stream);

// ns of each of `calls` runs of `work` on the stream, by the device's clock.
std::vector<double> time_each(std::size_t calls, void* stream,
                              const std::function<void()>& work);

}  // namespace sparseagent::cuda
