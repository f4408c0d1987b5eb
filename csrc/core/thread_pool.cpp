#include "core/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "core/buffer.h"
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

// Of the CPUs in `set`: other ones, another number.
std::uint64_t digest(const cpu_set_t& set) {
  std::uint64_t hash = 0;
  for (std::uint64_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) hash = (hash ^ (cpu + 1)) * 1099511628211ull;
  }
  return hash;
}

}  // namespace

struct ThreadPool::Crew {
  // What a call is about, in one cache line: it goes to a worker in one transfer.
  // `open`: the parts that nobody has taken yet, one bit each. Who clears a bit owns
  // the part; only then task and context are read, which stay until the part is done.
  alignas(64) std::atomic<std::uint64_t> open{0};
  std::atomic<int> unfinished{0};  // of those once open
  Task task = nullptr;
  const void* context = nullptr;
  std::atomic<bool> failed{false};
  std::exception_ptr failure;  // of whoever set `failed`
  // Rarely written: looked at while waiting.
  alignas(64) std::atomic<bool> stop{false};
  std::atomic<int> sleepers{0};
  std::uint64_t forks = fork_count.load();
  std::uint64_t cpus;
  std::vector<Buffer> scratch;  // of each worker
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

  void attempt(int part, void* own_scratch) {
    try {
      task(context, part, own_scratch);
    } catch (...) {
      if (!failed.exchange(true)) failure = std::current_exception();
    }
  }

  // Takes and does parts until none is left.
  void share(int own, void* own_scratch) {
    for (int part = take(own); part >= 0; part = take(own)) {
      attempt(part, own_scratch);
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
      share(own, scratch[static_cast<std::size_t>(own - 1)].data());
    }
  }

  void await_others() {
    for (int spins = 0; unfinished.load() > 0; ++spins) {
      spins < kSpins ? relax() : std::this_thread::yield();
    }
  }

  void rouse() noexcept {
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

// The caller's turn as the user ends however the call does.
struct ThreadPool::Turn {
  std::atomic<std::uint64_t>& user;
  ~Turn() { user.store(0); }
};

ThreadPool::ThreadPool(int threads, std::size_t scratch_bytes)
    : threads_(threads), scratch_bytes_(scratch_bytes), usable_(threads) {
  look_around();
}

ThreadPool::~ThreadPool() { dismiss(crew_.load()); }

void ThreadPool::look_around() {
  cpu_set_t set;
  // The call fails where there are more CPUs than the set has room for: then there are
  // enough.
  if (sched_getaffinity(0, sizeof set, &set) != 0) return;
  usable_.store(std::min(threads_, CPU_COUNT(&set)), std::memory_order_relaxed);
  cpus_.store(digest(set), std::memory_order_relaxed);
}

// In a forked child the workers are gone and cannot be joined; their record is left
// behind.
void ThreadPool::dismiss(Crew* crew) {
  if (crew == nullptr || crew->forks != fork_count.load()) return;
  crew->dismiss();
  delete crew;
}

// Called by the one thread that is the user. Null if the system grants no thread or no
// memory for one.
ThreadPool::Crew* ThreadPool::crew() {
  const std::uint64_t cpus = cpus_.load(std::memory_order_relaxed);
  Crew* known = crew_.load();
  if (known != nullptr && known->forks == fork_count.load() && known->cpus == cpus) {
    return known;
  }
  dismiss(known);
  crew_.store(nullptr);
  std::unique_ptr<Crew> fresh;
  try {
    fresh = std::make_unique<Crew>();
    fresh->cpus = cpus;
    const auto count = static_cast<std::size_t>(usable() - 1);
    while (fresh->scratch.size() < count) fresh->scratch.emplace_back(scratch_bytes_);
    fresh->workers.reserve(count);
    while (fresh->workers.size() < count) {
      const auto own = static_cast<int>(fresh->workers.size()) + 1;
      fresh->workers.emplace_back([raw = fresh.get(), own] { raw->work(own); });
    }
  } catch (const std::exception&) {
    if (fresh != nullptr) fresh->dismiss();
    return nullptr;
  }
  crew_.store(fresh.get());
  return fresh.release();
}

void ThreadPool::run(Task task, const void* context, int parts, bool wake,
                     void* scratch) {
  count_forks();
  const std::uint64_t me = fork_count.load() + 1;
  std::uint64_t user = user_.load();
  if (usable() < 2 || user == me || !user_.compare_exchange_strong(user, me)) {
    for (int part = 0; part < parts; ++part) task(context, part, scratch);
    return;
  }
  const Turn turn{user_};
  Crew* crew = this->crew();
  if (crew == nullptr) {
    for (int part = 0; part < parts; ++part) task(context, part, scratch);
    return;
  }
  crew->task = task;
  crew->context = context;
  crew->unfinished.store(parts - 1, std::memory_order_relaxed);
  // Part 0 is the caller's from the start.
  crew->open.store((~std::uint64_t{0} >> (kMaxParts - parts)) & ~std::uint64_t{1});
  if (wake) crew->rouse();
  crew->attempt(0, scratch);
  crew->share(0, scratch);
  crew->await_others();
  if (!crew->failed.load()) return;
  crew->failed.store(false);
  std::rethrow_exception(std::exchange(crew->failure, nullptr));
}

}  // namespace sparseagent
