// The driver with the CPU for a device: plans and arrays by the same code as on a GPU.
// Streams are numbers that are noted; the environment says how many multiprocessors
// there are and how much shared memory.
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <utility>

#include "cuda/driver.h"
#include "kernels.h"
#include "on_cpu.h"

namespace sparseagent::cuda {
namespace {

int number(const char* variable, int otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::atoi(text);
}

}  // namespace

// What a test may look at: how often was launched and waited, and the last stream.
extern "C" {
#define SPARSEAGENT_SEEN __attribute__((visibility("default")))
SPARSEAGENT_SEEN long on_cpu_launches = 0;
SPARSEAGENT_SEEN long on_cpu_waits = 0;
SPARSEAGENT_SEEN void* on_cpu_stream = nullptr;
}

int device_count(std::string* reason) {
  const int count = number("ON_CPU_DEVICES", 1);
  if (count == 0) *reason = "no NVIDIA driver was found";
  return count;
}

Device describe(int device) {
  Device d;
  d.name = "CPU " + std::to_string(device);
  d.major = number("ON_CPU_MAJOR", 9);
  d.multiprocessors = number("ON_CPU_MULTIPROCESSORS", 4);
  d.shared_bytes = static_cast<std::size_t>(number("ON_CPU_SHARED", 227 * 1024));
  d.memory = 1 << 30;
  return d;
}

int array_device() { return 1; }
int device_of(const void*) { return 0; }

Current::Current(int device) : before_(device) {}
Current::~Current() = default;

Memory::Memory(std::size_t bytes) : data_(std::malloc(bytes + 1)) {}
Memory::Memory(Memory&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
Memory& Memory::operator=(Memory&& other) noexcept {
  std::swap(data_, other.data_);
  return *this;
}
Memory::~Memory() { std::free(data_); }

void copy_in(void* to, const void* from, std::size_t bytes, void*) {
  std::memcpy(to, from, bytes);
}
void synchronise(void*) { ++on_cpu_waits; }
void* take(std::size_t bytes, void*) { return std::malloc(bytes + 1); }
void give_back(void* data, int, void*) noexcept { std::free(data); }
void wait_for(void*, void*) {}
void prepare(const Shape&, bool, std::uint32_t) {}

void launch(const Shape& shape, unsigned cluster, unsigned blocks, const Net& net,
            const Call& call, void* stream) {
  static std::mutex mutex;  // fibers belong to one thread at a time
  const std::lock_guard lock(mutex);
  ++on_cpu_launches;
  on_cpu_stream = stream;
  const bool met = on_cpu::launch(blocks, 64, cluster, net.tile_bytes(shape),
                                  on_cpu::Order::shuffled,
                                  [&] { run_kernel(shape, cluster > 1, net, call); });
  if (!met) std::abort();
}

std::vector<double> time_each(std::size_t calls, void*,
                              const std::function<void()>& work) {
  std::vector<double> ns;
  for (std::size_t i = 0; i < calls; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double, std::nano> taken =
        std::chrono::steady_clock::now() - start;
    ns.push_back(taken.count());
  }
  return ns;
}

}  // namespace sparseagent::cuda
