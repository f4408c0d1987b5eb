// A pool whose process may use more or fewer CPUs from time to time, which a
// sched_getaffinity of this program's own says. Exits with 0 if there were never more
// threads than CPUs, and as many as asked for where there are enough; 1: too many or
// too few, 2: a part was not done.
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "core/thread_pool.h"

using sparseagent::ThreadPool;

namespace {

constexpr int kThreads = 4;
constexpr int kParts = 32;

int cpus = 1;
int first_cpu = 0;
std::atomic<int> others{0};  // parts that were not done by the caller

int count_tasks() {
  // The kernel takes a moment to forget a thread that has been joined.
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  int count = 0;
  for (int id = getpid(); id < getpid() + 4000; ++id) {
    const std::string path = "/proc/self/task/" + std::to_string(id);
    count += access(path.c_str(), F_OK) == 0;
  }
  return count;
}

}  // namespace

extern "C" int sched_getaffinity(pid_t, std::size_t, cpu_set_t* set) noexcept {
  CPU_ZERO(set);
  for (int cpu = 0; cpu < cpus; ++cpu) CPU_SET(first_cpu + cpu, set);
  return 0;
}

int main() {
  ThreadPool pool(kThreads, 64);
  const auto count = [](const void* context, int, void*) {
    static_cast<std::atomic<int>*>(const_cast<void*>(context))->fetch_add(1);
    if (gettid() != getpid()) others.fetch_add(1);
  };
  for (const int allowed : {1, 2, 3, 1, 8, 8, 2}) {
    cpus = allowed;
    ++first_cpu;
    others = 0;
    pool.look_around();
    std::atomic<int> done{0};
    char scratch[64];
    pool.run(count, &done, kParts, true, scratch);
    if (done != kParts) return 2;
    const int expected = allowed < kThreads ? allowed : kThreads;
    if (pool.usable() != expected) return 1;
    // Those that are left sleep where there is one CPU.
    if (allowed > 1 && count_tasks() != expected) return 1;
    if (allowed == 1 && others != 0) return 1;
  }
  return 0;
}
