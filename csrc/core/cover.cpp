#include "core/cover.h"

#include <algorithm>
#include <limits>

namespace sparseagent {

Cover::Cover(const std::vector<Regime>& regimes, const std::vector<double>& ns) {
  std::int32_t widest = 1;
  double best_rate = std::numeric_limits<double>::infinity();
  for (std::size_t r = 0; r < regimes.size(); ++r) {
    widest = std::max(widest, regimes[r].columns);
    const double rate = ns[r] / regimes[r].columns;
    if (rate <= best_rate) {
      best_rate = rate;
      bulk_ = {static_cast<std::int32_t>(r), regimes[r].columns};
      bulk_ns_ = ns[r];
    }
  }
  // Far enough for every mixture of tiles to show.
  const std::int32_t limit = 4 * widest;
  ns_ = {0};
  cuts_ = {{0, 0}};
  for (std::int32_t n = 1; n <= limit; ++n) {
    double best = std::numeric_limits<double>::infinity();
    Cut cut = {0, 1};
    // From wide to narrow: of equal covers the one that starts with the widest cut.
    for (std::size_t r = regimes.size(); r-- > 0;) {
      const std::int32_t count = std::min(n, regimes[r].columns);
      // A tile may be partly empty. Few observations never are: single ones do it too,
      // and without relying on how well they were timed.
      if (count < regimes[r].columns && regimes[r].path == Path::one) continue;
      const double cost = ns[r] + ns_[static_cast<std::size_t>(n - count)];
      if (cost < best) {
        best = cost;
        cut = {static_cast<std::int32_t>(r), count};
      }
    }
    ns_.push_back(best);
    cuts_.push_back(cut);
  }
}

double Cover::ns_of_long(std::int64_t batch) const {
  const std::int64_t beyond = batch - (static_cast<std::int64_t>(ns_.size()) - 1);
  const std::int64_t bulks = (beyond + bulk_.count - 1) / bulk_.count;
  return static_cast<double>(bulks) * bulk_ns_ +
         ns_[static_cast<std::size_t>(batch - bulks * bulk_.count)];
}

}  // namespace sparseagent
