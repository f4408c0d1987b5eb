// A program on one device. Immutable but for `update`, and safe from many threads.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/program.h"
#include "cuda/choose.h"
#include "cuda/driver.h"
#include "cuda/image.h"

namespace sparseagent::cuda {

class Plan {
 public:
  // The program was checked. Throws std::invalid_argument for what the device cannot
  // run, std::runtime_error for what CUDA refuses.
  Plan(Program program, int device);

  const Program& program() const { return program_; }
  int device() const { return number_; }
  const Device& facts() const { return facts_; }
  const std::vector<Tiling>& tilings() const { return tilings_; }
  std::int32_t places() const { return outline_.net().places; }

  // What a batch goes through, and one of which samples are wanted.
  Tiling tiling(std::int64_t batch, bool sampling = false) const;
  unsigned blocks(const Tiling& tiling, std::int64_t batch) const;

  // One launch on the stream, of the current device: neither allocates nor waits.
  void run(const Call& call, void* stream) const;

  // New values under the same structure, written where the old ones are, in the order
  // of the stream. A layer with all its entries in plain order may come without indptr
  // and indices. Throws std::invalid_argument if a layer's structure differs or a
  // number is not finite; the plan is then as it was.
  void update(std::vector<LayerView> layers, void* stream);

 private:
  struct Packed {
    int shape;
    Memory pairs;
    Memory rows;
    Net net;
  };

  const Net& net(int shape) const;

  Program program_;  // whose numbers are those of the beginning
  int number_;
  Device facts_;
  Outline outline_;
  Work work_;
  std::vector<LayerView> layers_;
  std::vector<Tiling> tilings_;
  std::vector<Tiling> sampling_;  // those that can sample
  Memory words_;
  Memory doubles_;
  std::vector<Packed> packed_;  // one for each shape of the tilings
};

}  // namespace sparseagent::cuda
