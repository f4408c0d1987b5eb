#include "on_cpu.h"

#include <pthread.h>
#include <ucontext.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "guarded.h"

namespace on_cpu {
namespace {

constexpr std::size_t kStack = 256 * 1024;

enum class State { ready, at_block, at_cluster, done };

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  Place place;
  State state = State::ready;
};

thread_local Place* current = nullptr;
const std::function<void()>* running_body = nullptr;
ucontext_t scheduler;
Fiber* running = nullptr;

struct Barriers {
  pthread_barrier_t cluster;
  std::vector<pthread_barrier_t> blocks;
};
Barriers* real = nullptr;  // of threads

void entry() {
  (*running_body)();
  running->state = State::done;
  swapcontext(&running->context, &scheduler);
}

class Random {
 public:
  explicit Random(unsigned seed) : state_(seed * 2654435761u + 1) {}
  std::size_t below(std::size_t n) {
    state_ = state_ * 1664525u + 1013904223u;
    return (state_ >> 8) % n;
  }

 private:
  unsigned state_;
};

// The fibers of one cluster, block by block.
class Cluster {
 public:
  Cluster(std::vector<Fiber>* fibers, unsigned block, Order order, unsigned seed)
      : fibers_(*fibers), block_(block), order_(order), random_(seed) {}

  // Until all are done; false if they wait for what does not come. A block runs as far
  // as it can by itself before another one does, or in shuffled order they take turns.
  bool run() {
    std::vector<std::size_t> blocks(fibers_.size() / block_);
    std::iota(blocks.begin(), blocks.end(), 0u);
    if (order_ == Order::backward) std::reverse(blocks.begin(), blocks.end());
    for (;;) {
      bool moved = false;
      for (std::size_t i = 0; i < blocks.size(); ++i) {
        const bool shuffled = order_ == Order::shuffled;
        const std::size_t b = shuffled ? random_.below(blocks.size()) : blocks[i];
        while (step(b)) {
          moved = true;
          if (shuffled) break;
        }
      }
      if (all(State::done, 0, fibers_.size())) return true;
      if (all(State::at_cluster, 0, fibers_.size())) {
        for (Fiber& fiber : fibers_) fiber.state = State::ready;
      } else if (!moved && !shuffled_on()) {
        return false;
      }
    }
  }

 private:
  // In shuffled order a round may have met only blocks that wait for the others.
  bool shuffled_on() const {
    return order_ == Order::shuffled &&
           std::any_of(fibers_.begin(), fibers_.end(),
                       [](const Fiber& f) { return f.state == State::ready; });
  }

  bool all(State state, std::size_t first, std::size_t count) const {
    for (std::size_t i = first; i < first + count; ++i) {
      if (fibers_[i].state != state) return false;
    }
    return true;
  }

  // Every ready fiber of the block once; whether there was one.
  bool step(std::size_t number) {
    const std::size_t first = number * block_;
    std::vector<std::size_t> turn(block_);
    std::iota(turn.begin(), turn.end(), first);
    if (order_ == Order::backward) std::reverse(turn.begin(), turn.end());
    for (std::size_t i = block_; order_ == Order::shuffled && i > 1; --i) {
      std::swap(turn[i - 1], turn[random_.below(i)]);
    }
    bool moved = false;
    for (const std::size_t i : turn) {
      if (fibers_[i].state != State::ready) continue;
      moved = true;
      running = &fibers_[i];
      current = &running->place;
      swapcontext(&scheduler, &running->context);
    }
    if (all(State::at_block, first, block_)) {
      for (std::size_t i = first; i < first + block_; ++i) {
        fibers_[i].state = State::ready;
      }
    }
    return moved;
  }

  std::vector<Fiber>& fibers_;
  const std::size_t block_;
  const Order order_;
  Random random_;
};

bool run_fibers(const std::vector<Place>& places, unsigned block, Order order,
                unsigned seed) {
  static std::vector<Fiber> fibers;  // their stacks are used again
  if (fibers.size() != places.size()) fibers = std::vector<Fiber>(places.size());
  for (std::size_t i = 0; i < fibers.size(); ++i) {
    Fiber& fiber = fibers[i];
    if (!fiber.stack) fiber.stack = std::make_unique<char[]>(kStack);
    fiber.place = places[i];
    fiber.state = State::ready;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStack;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, entry, 0);
  }
  return Cluster(&fibers, block, order, seed).run();
}

bool run_threads(std::vector<Place> places, unsigned block,
                 const std::function<void()>& body) {
  Barriers barriers;
  const auto count = static_cast<unsigned>(places.size());
  pthread_barrier_init(&barriers.cluster, nullptr, count);
  barriers.blocks.resize(count / block);
  for (auto& barrier : barriers.blocks) pthread_barrier_init(&barrier, nullptr, block);
  real = &barriers;
  std::vector<std::thread> threads;
  for (Place& place : places) {
    threads.emplace_back([&place, &body] {
      current = &place;
      body();
    });
  }
  for (std::thread& thread : threads) thread.join();
  real = nullptr;
  for (auto& barrier : barriers.blocks) pthread_barrier_destroy(&barrier);
  pthread_barrier_destroy(&barriers.cluster);
  return true;
}

}  // namespace

Place& place() { return *current; }

void barrier(bool of_cluster) {
  if (real != nullptr) {
    pthread_barrier_wait(of_cluster ? &real->cluster : &real->blocks[place().rank]);
    return;
  }
  running->state = of_cluster ? State::at_cluster : State::at_block;
  swapcontext(&running->context, &scheduler);
}

bool launch(unsigned grid, unsigned block, unsigned cluster, std::size_t shared_bytes,
            Order order, const std::function<void()>& body) {
  running_body = &body;
  std::vector<std::unique_ptr<Guarded>> memory;
  std::vector<char*> shared;
  for (unsigned b = 0; b < cluster; ++b) {
    memory.push_back(std::make_unique<Guarded>(shared_bytes));
    shared.push_back(memory.back()->data());
  }
  for (unsigned first = 0; first < grid; first += cluster) {
    std::vector<Place> places;
    for (unsigned b = 0; b < cluster; ++b) {
      memory[b]->poison();
      for (unsigned t = 0; t < block; ++t) {
        places.push_back({{t, 0, 0},
                          {first + b, 0, 0},
                          {grid, 1, 1},
                          {block, 1, 1},
                          b,
                          cluster,
                          shared[b],
                          shared.data()});
      }
    }
    const bool met = order == Order::threads ? run_threads(places, block, body)
                                             : run_fibers(places, block, order, first);
    if (!met) return false;
  }
  return true;
}

}  // namespace on_cpu
