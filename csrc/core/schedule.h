// A program bound to kernels: packed layers for every batch regime, and what the
// regimes cost.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/cover.h"
#include "core/layout.h"

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

  const Layout& layout() const { return layout_; }
  const Cover& cover() const { return cover_; }
  const std::vector<Regime>& regimes() const { return layout_.regimes(); }
  const std::vector<double>& ns() const { return ns_; }
  const std::vector<Layer>& layers() const { return layers_; }

  // The observations of one cut. The same bits whatever the cut.
  void forward(const Layout::Batch& batch) const {
    layout_.walk(by_regime_[batch.regime], batch);
  }

 private:
  Layout layout_;
  std::vector<Layer> layers_;
  std::vector<Layers> by_regime_;  // the same as in layers_
  std::vector<double> ns_;
  Cover cover_;
};

// The regimes whose activations stay near the second cache: the widest need much room
// where a program is wide. The single observation is always among them.
std::vector<Regime> regimes_with_room(const Program& program,
                                      const std::vector<Regime>& all);

}  // namespace sparseagent
