#include "core/schedule.h"

#include <algorithm>
#include <utility>

namespace sparseagent {
namespace {

// Floats of the observations that are walked together, prepared rows included, at most:
// 2 MB, or twice as much where that spares reading many weights again.
constexpr std::int64_t kMostFloats = 1 << 19;

// Timing finds the weights in a cache. Those of a large network come from memory where
// others use the cache too, once for every cut of a batch: a cut costs so many ns more
// for each byte of them. Several tiles at a time ask for a layer's weights less often
// still: timing finds them 1 to 3 % slower, beside busy neighbours they are up to 1.9
// times as fast. Where nothing is shared they must be clearly quicker.
constexpr std::size_t kManyBytes = 1 << 20;
constexpr double kByte = 0.005;
constexpr double kTogether = 0.85;
constexpr double kApart = 1.02;

double worth_ns(const Regime& regime, const Layers& layers, double ns) {
  std::size_t bytes = 0;
  bool shares = false;
  for (const PackedLayer* layer : layers) {
    bytes += layer->bytes;
    shares |= layer->kernel->shares_weights;
  }
  const bool many = bytes > kManyBytes;
  if (regime.tiles > 1) ns *= shares && many ? kTogether : kApart;
  return many ? ns + kByte * static_cast<double>(bytes) : ns;
}

}  // namespace

Schedule::Schedule(Layout layout, std::vector<Layer> layers, std::vector<double> ns)
    : layout_(std::move(layout)), layers_(std::move(layers)), ns_(std::move(ns)) {
  std::vector<double> worth;
  for (std::size_t r = 0; r < regimes().size(); ++r) {
    Layers packed;
    for (const Layer& layer : layers_) packed.push_back(layer.packed[r].get());
    walks_.emplace_back(layout_, regimes()[r], packed);
    worth.push_back(worth_ns(regimes()[r], packed, ns_[r]));
  }
  cover_ = Cover(regimes(), worth);
}

std::vector<Regime> regimes_with_room(const Program& program,
                                      const std::vector<Regime>& all) {
  std::int64_t each = Layout(program, all).stride();
  for (const Input& input : program.inputs) each += input.step.features();
  std::vector<Regime> regimes;
  for (const Regime& regime : all) {
    const std::int64_t most = regime.tiles > 1 ? 2 * kMostFloats : kMostFloats;
    std::int64_t scratch = 0;
    for (const Op& op : program.ops) {
      scratch = std::max(scratch, scratch_floats(op.layer, regime));
    }
    const bool fits = each * regime.columns + scratch <= most;
    if (fits || regime.columns == 1) regimes.push_back(regime);
  }
  return regimes;
}

}  // namespace sparseagent
