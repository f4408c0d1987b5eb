// A few threads that split one call. They start on first use, spin briefly between
// calls, then sleep.
#pragma once

#include <atomic>

namespace sparseagent {

class ThreadPool {
 public:
  using Task = void (*)(const void* context, int part);

  // `threads` includes the caller. Starts nothing.
  explicit ThreadPool(int threads) : threads_(threads) {}
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // task(context, part) for every part in [0, threads), the caller takes part 0;
  // returns when all are done. If another thread is using the pool the caller does all
  // parts itself: nobody waits. In a forked child, where the parent's workers do not
  // exist, new ones are started.
  void run(Task task, const void* context);

 private:
  struct Crew;
  Crew* crew();

  const int threads_;
  std::atomic<Crew*> crew_{nullptr};
  std::atomic<bool> busy_{false};
};

}  // namespace sparseagent
