// A few threads that share the parts of one call. They start on first use, spin briefly
// between calls, then sleep.
#pragma once

#include <atomic>
#include <cstdint>

namespace sparseagent {

class ThreadPool {
 public:
  using Task = void (*)(const void* context, int part);

  static constexpr int kMaxParts = 64;

  // `threads` includes the caller, at most kMaxParts. Starts nothing.
  explicit ThreadPool(int threads) : threads_(threads) {}
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // task(context, part) for every part in [0, parts), at most kMaxParts; returns when
  // all are done. Threads take parts as they come free, the caller among them, so it
  // never waits for a thread that has not begun. `wake`: rouse those that sleep, which
  // takes the caller some microseconds. If another thread is using the pool the caller
  // does all parts itself. In a forked child, where the parent's workers do not exist,
  // new ones are started.
  void run(Task task, const void* context, int parts, bool wake);

 private:
  struct Crew;
  Crew* crew();

  const int threads_;
  std::atomic<Crew*> crew_{nullptr};
  // 0, or 1 more than the fork count of the process whose thread is using the pool. The
  // user that a forked child finds from before the fork does not exist there.
  std::atomic<std::uint64_t> user_{0};
};

}  // namespace sparseagent
