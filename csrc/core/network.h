// The packed layers of one plan, and the walk of observations through all of them.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/cover.h"
#include "core/packed.h"

namespace sparseagent {

// What a walk needs to know of a network besides its packed layers.
struct Extent {
  std::int32_t input_size;
  std::int32_t output_size;
  std::int32_t widest;   // most chains of a layer, or inputs
  std::int32_t columns;  // of the widest regime

  // Floats from one observation to the next, where they are not side by side.
  std::int64_t stride() const;
  // Floats of the activations of one layer, all columns.
  std::size_t half_workspace() const;
  // Floats that a walk works in.
  std::size_t workspace() const { return 2 * half_workspace(); }
};

// The regimes of `all` that a workspace has room for: of wide layers fewer observations
// go side by side, whatever a batch brings. A single one always does.
std::vector<Regime> regimes_with_room(const std::vector<LayerView>& layers,
                                      const std::vector<Regime>& all);

Extent extent_of(const std::vector<LayerView>& layers,
                 const std::vector<Regime>& regimes);

using Layers = std::vector<const PackedLayer*>;

// rows [count, in] -> outputs [count, out]; count = regime.columns, in a tile at most.
void walk(const Extent& extent, const Layers& layers, const Regime& regime,
          std::int32_t count, const float* rows, float* outputs, float* workspace);

// A run of a layer's rows, packed by itself: what one thread does of one observation.
struct RowPart {
  std::shared_ptr<PackedLayer> packed;
  std::int32_t first;
  std::int32_t rows;
};

class Network {
 public:
  struct Step {
    // By regime; regimes of one path share the packed layer where they chose the same
    // kernel.
    std::vector<std::shared_ptr<PackedLayer>> packed;
    // For one observation on several threads; empty: not worth splitting.
    std::vector<RowPart> parts;
  };

  // ns: the cost of every regime.
  Network(std::vector<Regime> regimes, const Extent& extent, std::vector<Step> steps,
          std::vector<double> ns);

  int input_size() const { return extent_.input_size; }
  int output_size() const { return extent_.output_size; }
  const Extent& extent() const { return extent_; }
  const Cover& cover() const { return cover_; }
  const std::vector<Regime>& regimes() const { return regimes_; }
  const std::vector<double>& ns() const { return ns_; }
  const std::vector<Step>& steps() const { return steps_; }

  // The observations of one cut: rows [count, in] -> outputs [count, out]. The same
  // bits whatever the cut. `workspace` has extent().workspace() floats.
  void forward(Cut cut, const float* rows, float* outputs, float* workspace) const {
    const auto regime = static_cast<std::size_t>(cut.regime);
    walk(extent_, layers_[regime], regimes_[regime], cut.count, rows, outputs,
         workspace);
  }

 private:
  std::vector<Regime> regimes_;
  Extent extent_;
  std::vector<Step> steps_;
  std::vector<Layers> layers_;  // by regime: the same as in steps_
  std::vector<double> ns_;
  Cover cover_;
};

}  // namespace sparseagent
