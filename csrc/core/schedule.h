// A program bound to kernels: packed layers for every batch regime, and what the
// regimes cost.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/cover.h"
#include "core/walk.h"

namespace sparseagent {

// A run of a layer's rows, packed by itself: what one thread does of one observation.
struct RowPart {
  std::shared_ptr<PackedLayer> packed;
  std::int32_t first;
  std::int32_t rows;
};

class Schedule {
 public:
  struct Layer {
    // By regime; regimes of one path share the packed layer where they chose the same
    // kernel.
    std::vector<std::shared_ptr<PackedLayer>> packed;
    // For one observation on several threads; empty: not worth splitting.
    std::vector<RowPart> parts;
  };

  // ns: the cost of every regime.
  Schedule(Layout layout, std::vector<Layer> layers, std::vector<double> ns);
  Schedule(const Schedule&) = delete;  // walks point into its layout
  Schedule& operator=(const Schedule&) = delete;

  const Layout& layout() const { return layout_; }
  const Cover& cover() const { return cover_; }
  const std::vector<Regime>& regimes() const { return layout_.regimes(); }
  const std::vector<double>& ns() const { return ns_; }
  const std::vector<Layer>& layers() const { return layers_; }

  // What takes the observations of one cut through the program. The same bits whatever
  // the cut.
  const Walk& walk(std::int32_t regime) const {
    return walks_[static_cast<std::size_t>(regime)];
  }

 private:
  Layout layout_;
  std::vector<Layer> layers_;
  std::vector<Walk> walks_;  // by regime
  std::vector<double> ns_;
  Cover cover_;
};

// The regimes whose activations stay near the second cache: the widest need much room
// where a program is wide. The single observation is always among them.
std::vector<Regime> regimes_with_room(const Program& program,
                                      const std::vector<Regime>& all);

}  // namespace sparseagent
