#include "core/thread_pool.h"

#include <pthread.h>

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "core/float_mode.h"

namespace sparseagent {
namespace {

// How often this process has been forked off: workers belong to the process that
// started them.
std::atomic<std::uint64_t> fork_count{0};

void count_forks() {
  static std::once_flag once;
  std::call_once(
      once, [] { pthread_atfork(nullptr, nullptr, [] { fork_count.fetch_add(1); }); });
}

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

constexpr int kSpins =
    4000;  // some 20 to 100 microseconds, then the kernel's help is taken

}  // namespace

struct ThreadPool::Crew {
  // What a call is about, in one cache line: it goes to a worker in one transfer.
  // `open`: the parts that nobody has taken yet, one bit each. Who clears a bit owns
  // the part; only then task and context are read, which stay until the part is done.
  alignas(64) std::atomic<std::uint64_t> open{0};
  std::atomic<int> unfinished{0};  // of those once open
  Task task = nullptr;
  const void* context = nullptr;
  // Rarely written: looked at while waiting.
  alignas(64) std::atomic<bool> stop{false};
  std::atomic<int> sleepers{0};
  std::uint64_t forks = fork_count.load();
  std::vector<std::thread> workers;
  std::mutex mutex;
  std::condition_variable wake;

  // Takes part `own` if it is there, or else the lowest one; -1: none left. Weights of
  // a part tend to lie in the cache of the thread that had it before.
  int take(int own) {
    std::uint64_t left = open.load();
    while (left != 0) {
      const std::uint64_t mine = std::uint64_t{1} << own;
      const std::uint64_t bit = (left & mine) != 0 ? mine : left & (~left + 1);
      if (open.compare_exchange_weak(left, left & ~bit)) return __builtin_ctzll(bit);
    }
    return -1;
  }

  // Takes and does parts until none is left.
  void share(int own) {
    for (int part = take(own); part >= 0; part = take(own)) {
      task(context, part);
      unfinished.fetch_sub(1);
    }
  }

  void await_work() {
    for (int i = 0; i < kSpins; ++i) {
      if (open.load() != 0 || stop.load()) return;
      relax();
    }
    std::unique_lock<std::mutex> lock(mutex);
    sleepers.fetch_add(1);
    wake.wait(lock, [&] { return open.load() != 0 || stop.load(); });
    sleepers.fetch_sub(1);
  }

  void work(int own) {
    const PlainFloats plain;  // a thread inherits its creator's mode
    for (;;) {
      await_work();
      if (stop.load()) return;
      share(own);
    }
  }

  void rouse() {
    if (sleepers.load() == 0) return;
    const std::lock_guard<std::mutex> lock(mutex);
    wake.notify_all();
  }

  void dismiss() {
    stop.store(true);
    rouse();
    for (std::thread& worker : workers) worker.join();
  }
};

ThreadPool::~ThreadPool() {
  Crew* crew = crew_.load();
  // In a forked child the workers are gone and cannot be joined; their record is left
  // behind.
  if (crew == nullptr || crew->forks != fork_count.load()) return;
  crew->dismiss();
  delete crew;
}

// Called by the one thread that is the user. Null if the system grants no thread.
ThreadPool::Crew* ThreadPool::crew() {
  Crew* known = crew_.load();
  if (known != nullptr && known->forks == fork_count.load()) return known;
  // A forked child leaves the parent's crew behind: its threads are not there to be
  // joined.
  auto fresh = std::make_unique<Crew>();
  try {
    for (int part = 1; part < threads_; ++part) {
      fresh->workers.emplace_back([raw = fresh.get(), part] { raw->work(part); });
    }
  } catch (const std::system_error&) {
    fresh->dismiss();
    return nullptr;
  }
  crew_.store(fresh.get());
  return fresh.release();
}

void ThreadPool::run(Task task, const void* context, int parts, bool wake) {
  count_forks();
  const std::uint64_t me = fork_count.load() + 1;
  std::uint64_t user = user_.load();
  const bool mine = user != me && user_.compare_exchange_strong(user, me);
  Crew* crew = mine ? this->crew() : nullptr;
  if (crew == nullptr) {
    for (int part = 0; part < parts; ++part) task(context, part);
    if (mine) user_.store(0);
    return;
  }
  crew->task = task;
  crew->context = context;
  crew->unfinished.store(parts - 1, std::memory_order_relaxed);
  // Part 0 is the caller's from the start.
  crew->open.store((~std::uint64_t{0} >> (kMaxParts - parts)) & ~std::uint64_t{1});
  if (wake) crew->rouse();
  task(context, 0);
  crew->share(0);
  for (int spins = 0; crew->unfinished.load() > 0; ++spins) {
    spins < kSpins ? relax() : std::this_thread::yield();
  }
  user_.store(0);
}

}  // namespace sparseagent
