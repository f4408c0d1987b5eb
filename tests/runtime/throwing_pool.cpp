// Parts that throw, in the caller and in other threads. Exits with 0 if the exception
// arrived in the caller each time, no earlier than all parts were done, and the pool
// works on; 1: no exception or another one, 2: parts were still open, 3: a part was not
// done once.
#include <array>
#include <atomic>
#include <chrono>
#include <new>
#include <thread>

#include "core/thread_pool.h"

using sparseagent::ThreadPool;

namespace {

constexpr int kParts = 16;

struct Call {
  int first_bad;  // from this part on all throw
  std::array<std::atomic<int>, kParts> done{};
};

void work(const void* context, int part, void* scratch) {
  Call& call = *static_cast<Call*>(const_cast<void*>(context));
  *static_cast<char*>(scratch) = 1;
  std::this_thread::sleep_for(std::chrono::microseconds(200));
  call.done[static_cast<std::size_t>(part)].fetch_add(1);
  if (part >= call.first_bad) throw std::bad_alloc();
}

int use(ThreadPool* pool, int first_bad) {
  Call call{first_bad};
  char scratch[64];
  bool caught = false;
  try {
    pool->run(work, &call, kParts, true, scratch);
  } catch (const std::bad_alloc&) {
    caught = true;
  }
  if (caught != (first_bad < kParts)) return 1;
  for (const auto& times : call.done) {
    if (times.load() != 1) return times.load() == 0 ? 2 : 3;
  }
  return 0;
}

}  // namespace

int main() {
  ThreadPool pool(4, 64);
  for (int round = 0; round < 20; ++round) {
    for (const int first_bad : {0, 1, kParts - 1, kParts}) {
      if (const int code = use(&pool, first_bad)) return code;
    }
  }
  return 0;
}
