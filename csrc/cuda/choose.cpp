#include "cuda/choose.h"

#include <algorithm>

namespace sparseagent::cuda {
namespace {

// Instructions of the inner loop for one stored entry, counted in the machine code of
// sm_90, by the observations of a lane.
double instructions(int vectors) {
  return vectors == 1 ? 4.75 : vectors == 2 ? 5.75 : 7.75;
}

constexpr double kSchedulers = 4;  // of a multiprocessor: an instruction each a cycle
// A block alone has two warps a scheduler, which wait for memory half of the time.
constexpr double kAlone = 2;
constexpr double kStep = 800;  // a barrier and three loads that wait for each other
constexpr double kClusterBarrier = 500;  // what that takes more, about each layer
constexpr double kRemote = 1.1;          // stores into the blocks of a cluster

// CUDA keeps so many bytes of a block's shared memory for itself.
constexpr std::size_t kReserved = 1024;

}  // namespace

std::vector<Tiling> tilings_for(const Net& net, const Device& device) {
  std::vector<Tiling> all;
  for (int s = 0; s < kShapeCount; ++s) {
    if (net.tile_bytes(kShapes[s]) > device.shared_bytes) continue;
    all.push_back({s, 1});
    if (!device.has_clusters() || !clusters(kShapes[s])) continue;
    for (unsigned blocks = 2; blocks <= kMostBlocks; blocks *= 2) {
      all.push_back({s, blocks});
    }
  }
  return all;
}

double cycles(const Tiling& tiling, const Work& work, const Net& net,
              const Device& device, std::int64_t batch) {
  const Shape& shape = kShapes[tiling.shape];
  const std::int64_t tiles = (batch + shape.columns() - 1) / shape.columns();
  const std::int64_t blocks = tiles * tiling.cluster;
  const auto each = static_cast<double>((blocks + device.multiprocessors - 1) /
                                        device.multiprocessors);
  const bool two = 2 * (net.tile_bytes(shape) + kReserved) <= device.shared_bytes;
  const double rounds = two ? std::max(1.0, each / 2) : each;
  double issue = work.entries * instructions(shape.vectors) /
                 (shape.groups * static_cast<int>(tiling.cluster)) / kSchedulers;
  double wait = work.steps * kStep;
  if (tiling.cluster > 1) {
    issue *= kRemote;
    wait += 2 * work.layers * kClusterBarrier;
  }
  return each * issue + rounds * ((kAlone - 1) * issue + wait);
}

Tiling choose(const std::vector<Tiling>& tilings, const Work& work, const Net& net,
              const Device& device, std::int64_t batch) {
  const auto cost = [&](const Tiling& tiling) {
    return cycles(tiling, work, net, device, batch);
  };
  return *std::min_element(
      tilings.begin(), tilings.end(),
      [&](const Tiling& a, const Tiling& b) { return cost(a) < cost(b); });
}

}  // namespace sparseagent::cuda
