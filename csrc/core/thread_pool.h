// A few threads that share the parts of one call. They start on first use, spin briefly
// between calls, then sleep.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace sparseagent {

class ThreadPool {
 public:
  // `scratch`: memory that no other thread uses meanwhile.
  using Task = void (*)(const void* context, int part, void* scratch);

  static constexpr int kMaxParts = 64;

  // `threads` includes the caller, at most kMaxParts; each of the others gets
  // `scratch_bytes`. Starts nothing.
  ThreadPool(int threads, std::size_t scratch_bytes);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // Threads that may run at a time: no more than the CPUs this process may use, which
  // look_around() counts.
  int usable() const { return usable_.load(std::memory_order_relaxed); }

  // Asks the system, which takes some 200 ns, for the CPUs of the calling thread.
  void look_around();

  // task(context, part, scratch) for every part in [0, parts), at most kMaxParts;
  // returns when all are done. `scratch` is the caller's. Threads take parts as they
  // come free, the caller among them, so it never waits for a thread that has not
  // begun. One that has begun must be waited for, however long the system keeps it from
  // running: it reads and writes the caller's memory.
  //
  // `wake`: rouse those that sleep, which takes the caller some microseconds. If
  // another thread is using the pool, or if the system grants no threads or no memory
  // for them, the caller does all parts itself. In a forked child, where the parent's
  // workers do not exist, new ones are started; so they are for other CPUs.
  //
  // What a task throws, in any thread, is thrown here when no part is being done any
  // more; of several the first.
  void run(Task task, const void* context, int parts, bool wake, void* scratch);

 private:
  struct Crew;
  struct Turn;
  Crew* crew();
  void dismiss(Crew* crew);

  const int threads_;
  const std::size_t scratch_bytes_;
  std::atomic<int> usable_;
  std::atomic<std::uint64_t> cpus_{0};  // a digest of those this process may use
  std::atomic<Crew*> crew_{nullptr};
  // 0, or 1 more than the fork count of the process whose thread is using the pool. The
  // user that a forked child finds from before the fork does not exist there.
  std::atomic<std::uint64_t> user_{0};
};

}  // namespace sparseagent
