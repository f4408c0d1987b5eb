// How a batch is cut into single observations, pairs, fours and tiles.
#pragma once

#include <cstdint>
#include <vector>

#include "core/regime.h"

namespace sparseagent {

// `count` observations go through the network in one regime; a tile may be partly
// empty.
struct Cut {
  std::int32_t regime;
  std::int32_t count;
};

// The cheapest cover of every batch: worked out once, by dynamic programming over the
// number of observations left; long batches start with tiles of the best throughput.
class Cover {
 public:
  Cover() = default;

  // ns[r]: what regime r costs, of regimes[0] to the last; the first is one
  // observation.
  Cover(const std::vector<Regime>& regimes, const std::vector<double>& ns);

  // The next cut of a batch of which `left` observations are left, at least one.
  Cut next(std::int64_t left) const {
    if (left == 1) return {0, 1};
    return left < static_cast<std::int64_t>(cuts_.size())
               ? cuts_[static_cast<std::size_t>(left)]
               : bulk_;
  }

  // Observations of the cut that long batches start with.
  std::int64_t bulk() const { return bulk_.count; }

  // What a batch costs, roughly.
  double ns(std::int64_t batch) const {
    return batch < static_cast<std::int64_t>(ns_.size())
               ? ns_[static_cast<std::size_t>(batch)]
               : ns_of_long(batch);
  }

 private:
  double ns_of_long(std::int64_t batch) const;

  Cut bulk_ = {0, 1};
  double bulk_ns_ = 0;
  std::vector<Cut> cuts_;   // [n]: the first cut of a batch of n
  std::vector<double> ns_;  // [n]: what it costs
};

}  // namespace sparseagent
