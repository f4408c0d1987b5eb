// Forks while a pool starts its threads, which another thread of a parent may be doing,
// and uses the pool in the child. Exits with 0 if every part was done once and the
// child got threads of its own.
//
// The fork is in a pthread_create of this program's own, which the C++ library calls:
// the pool is then as the child would find it, every time. The CPUs are of its own too:
// there are always enough.
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "core/thread_pool.h"

using sparseagent::ThreadPool;

namespace {

constexpr int kThreads = 3;
constexpr int kCallers = 4;
constexpr int kParts = 8;

using Counts = std::array<std::atomic<int>, kParts>;

ThreadPool pool(kThreads, 64);
std::atomic<int> created{0};

bool every_part_once() {
  Counts counts = {};
  const auto count = [](const void* context, int part, void*) {
    auto& all = *static_cast<Counts*>(const_cast<void*>(context));
    all[static_cast<std::size_t>(part)].fetch_add(1);
  };
  pool.run(count, &counts, kParts, true, nullptr);
  for (const auto& times : counts) {
    if (times.load() != 1) return false;
  }
  return true;
}

int use_in_child() {
  created = 0;
  std::atomic<bool> right{true};
  std::vector<std::thread> callers;
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([&right] {
      for (int k = 0; k < 500; ++k) {
        if (!every_part_once()) right = false;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  if (!right) return 1;
  return created == kCallers + kThreads - 1 ? 0 : 2;
}

}  // namespace

extern "C" int sched_getaffinity(pid_t, std::size_t, cpu_set_t* set) noexcept {
  CPU_ZERO(set);
  for (int cpu = 0; cpu < kThreads; ++cpu) CPU_SET(cpu, set);
  return 0;
}

extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                              void* (*start)(void*), void* argument) {
  static const auto real =
      reinterpret_cast<decltype(&pthread_create)>(dlsym(RTLD_NEXT, "pthread_create"));
  static const pid_t parent = getpid();
  if (getpid() == parent && created == 1 && fork() == 0) _exit(use_in_child());
  ++created;
  return real(thread, attributes, start, argument);
}

int main() {
  if (!every_part_once()) return 3;
  int status = 0;
  if (wait(&status) < 0 || !WIFEXITED(status)) return 4;
  return WEXITSTATUS(status);
}
