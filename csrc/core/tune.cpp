#include "core/tune.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "core/candidates.h"
#include "core/split.h"
#include "core/stopwatch.h"

namespace sparseagent {
namespace {

// Layers that take longer than this are split among threads: sharing costs about a
// third.
constexpr double kSplitNs = 2000;

// Dense needs no luck with the structure: it wins where others are hardly better.
constexpr double kDenseBonus = 0.98;

// Assignments that are timed as a whole, at most: with a thousand layers there would be
// thousands, of a thousand numbers each.
constexpr std::size_t kMostEntrants = 64;

// Of a regime's time, the part in which layers are timed alone.
constexpr double kAlone = 0.5;

// A regime is timed if there is time for so many passes through the network: one that
// finds the weights in memory and one to measure, for the layers and for the whole.
constexpr double kPasses = 4;

// A regime's part of the time: wide ones take longer.
double weight_of(const Regime& regime) { return 1 + regime.columns / 16.0; }

// Observations of a plausible size with a fixed pattern: no two lanes alike, no zeros.
std::vector<float> probe(std::size_t count) {
  std::vector<float> x(count);
  std::uint32_t state = 12345;
  for (float& value : x) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<float>(state >> 8) * 0x1p-23f - 1.0f;
  }
  return x;
}

// One number for every layer: which of its candidates.
using Assignment = std::vector<std::size_t>;

// Chooses the kernels of all layers in one regime.
class RegimeTuner {
 public:
  RegimeTuner(const std::vector<LayerView>& layers,
              const std::vector<Candidates>& candidates, const Regime& regime,
              const Extent& extent, const std::function<void()>& checkpoint)
      : layers_(layers),
        candidates_(candidates),
        regime_(regime),
        extent_(extent),
        checkpoint_(checkpoint),
        rows_(probe(static_cast<std::size_t>(regime.columns) *
                    static_cast<std::size_t>(extent.input_size))),
        outputs_(static_cast<std::size_t>(regime.columns) *
                 static_cast<std::size_t>(extent.output_size)),
        workspace_(sizeof(float) * extent.workspace()),
        picked_(layers.size(), 0) {
    for (const Candidates& c : candidates) alone_.emplace_back(c.size(), -1.0);
  }

  // There is one candidate for each layer, as told.
  void follow(double ns) { ns_ = ns; }

  // The candidates come with the best guess first, which stays where there is no time.
  // `pace`: ns measured for each one guessed, so far; the same of this regime after it.
  void time(double budget_ns, double* pace) {
    double guess = 0;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      guess += guess_ns(*candidates_[i][0]->kernel, layers_[i], regime_);
    }
    ns_ = *pace * guess;
    if (budget_ns < kPasses * ns_) return;
    const double start = clock_ns();
    time_alone(start + kAlone * budget_ns);
    time_together(start + budget_ns);
    *pace = ns_ / guess;
  }

  double ns() const { return ns_; }

  const std::shared_ptr<PackedLayer>& packed(std::size_t layer) const {
    return candidates_[layer][picked_[layer]];
  }

  Choice choice(std::size_t layer) const {
    Choice choice = {
        static_cast<int>(layer), regime_, packed(layer)->kernel->format, {}};
    for (std::size_t i = 0; i < candidates_[layer].size(); ++i) {
      const PackedLayer& candidate = *candidates_[layer][i];
      const double ns = alone_[layer][i];
      choice.candidates.push_back(
          {candidate.kernel->format, std::isinf(ns) ? -1.0 : ns, candidate.bytes});
    }
    return choice;
  }

 private:
  // Every layer by itself, on what the layer before gives.
  void time_alone(double deadline_ns) {
    float* x = workspace_.floats();
    float* y = x + extent_.half_workspace();
    // What lies together: a tile, or the row of one observation.
    const bool tiles = regime_.path == Path::tile;
    const auto count =
        static_cast<std::size_t>(tiles ? regime_.tiles : regime_.columns);
    const std::size_t each = rows_.size() / count;
    const std::size_t next =
        static_cast<std::size_t>(extent_.stride()) *
        (tiles ? static_cast<std::size_t>(regime_.columns) / count : 1);
    for (std::size_t i = 0; i < rows_.size(); ++i)
      x[i / each * next + i % each] = rows_[i];
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const auto left = static_cast<double>(layers_.size() - i);
      const double now = clock_ns();
      if (now >= deadline_ns) return;
      const auto run = [&](std::size_t c) {
        candidates_[i][c]->run(regime_, x, y, extent_.stride());
      };
      if (candidates_[i].size() > 1) {
        alone_[i] = race(candidates_[i].size(), now + (deadline_ns - now) / left, run,
                         checkpoint_);
        picked_[i] = static_cast<std::size_t>(
            std::min_element(alone_[i].begin(), alone_[i].end()) - alone_[i].begin());
      }
      run(picked_[i]);
      std::swap(x, y);
    }
  }

  // Alone, a layer finds its weights in the cache; together, they must share it. So the
  // best of the layers must win against every single format, wherever that is near.
  void time_together(double deadline_ns) {
    std::vector<Assignment> entrants = alternatives();
    std::vector<Layers> networks;
    for (const Assignment& entrant : entrants) networks.push_back(layers_of(entrant));
    const auto run = [&](std::size_t i) {
      walk(extent_, networks[i], regime_, regime_.columns, rows_.data(),
           outputs_.data(), workspace_.floats());
    };
    const auto ns = race(networks.size(), deadline_ns, run, checkpoint_);
    std::size_t best = 0;
    const auto rank = [&](std::size_t i) {
      return ns[i] * (is_dense(entrants[i]) ? kDenseBonus : 1.0);
    };
    for (std::size_t i = 1; i < entrants.size(); ++i) {
      if (rank(i) < rank(best)) best = i;
    }
    picked_ = entrants[best];
    ns_ = ns[best];
  }

  // What was picked; every format that can do all layers; and with one layer changed to
  // its second best. Only those that may still win.
  std::vector<Assignment> alternatives() const {
    std::vector<Assignment> all = {picked_};
    const double limit = 1.25 * sum(picked_);
    const auto offer = [&](const Assignment& other) {
      const bool known = std::find(all.begin(), all.end(), other) != all.end();
      if (known || all.size() == kMostEntrants) return;
      if (sum(other) <= limit) all.push_back(other);
    };
    for (const auto& candidate : candidates_[0]) {
      Assignment uniform;
      for (std::size_t i = 0; i < layers_.size(); ++i) {
        const std::size_t index = index_of(i, candidate->kernel->format);
        if (index < candidates_[i].size()) uniform.push_back(index);
      }
      if (uniform.size() == layers_.size()) offer(uniform);
    }
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      for (std::size_t c = 0; c < candidates_[i].size(); ++c) {
        Assignment changed = picked_;
        changed[i] = c;
        if (alone_[i][c] < 1.1 * alone_[i][picked_[i]]) offer(changed);
      }
    }
    return all;
  }

  double sum(const Assignment& assignment) const {
    double ns = 0;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      ns += std::max(0.0, alone_[i][assignment[i]]);
    }
    return ns;
  }

  bool is_dense(const Assignment& assignment) const {
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      if (candidates_[i][assignment[i]]->kernel->format != std::string("dense"))
        return false;
    }
    return true;
  }

  Layers layers_of(const Assignment& assignment) const {
    Layers layers;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      layers.push_back(candidates_[i][assignment[i]].get());
    }
    return layers;
  }

  std::size_t index_of(std::size_t layer, const std::string& format) const {
    std::size_t i = 0;
    while (i < candidates_[layer].size() &&
           candidates_[layer][i]->kernel->format != format) {
      ++i;
    }
    return i;
  }

  const std::vector<LayerView>& layers_;
  const std::vector<Candidates>& candidates_;
  const Regime regime_;
  const Extent extent_;
  const std::function<void()>& checkpoint_;
  std::vector<float> rows_;
  std::vector<float> outputs_;
  Buffer workspace_;
  Assignment picked_;
  std::vector<std::vector<double>> alone_;  // [layers][candidates]; -1: not timed
  double ns_ = 0;
};

void check_tuning(const Tuning& tuning, std::size_t regimes, std::size_t layers) {
  bool fits = tuning.formats.size() == regimes && tuning.ns.size() == regimes;
  for (const auto& formats : tuning.formats) fits = fits && formats.size() == layers;
  for (const double ns : tuning.ns) fits = fits && ns > 0 && std::isfinite(ns);
  if (!fits) {
    throw std::invalid_argument(
        "tune: expected a format for each of " + std::to_string(layers) +
        " layers and a time in each of " + std::to_string(regimes) + " regimes");
  }
}

}  // namespace

std::unique_ptr<Network> build_network(const Isa& isa,
                                       const std::vector<LayerView>& layers,
                                       const BuildOptions& options,
                                       std::vector<Choice>* choices) {
  const std::vector<Regime> regimes = regimes_with_room(layers, regimes_of(isa));
  const Extent extent = extent_of(layers, regimes);
  const bool told = !options.tuning.empty();
  const bool untimed = told || options.budget_ms <= 0;
  if (told) check_tuning(options.tuning, regimes.size(), layers.size());
  std::vector<Network::Step> steps(layers.size());
  std::vector<double> ns;
  std::vector<Candidates> candidates;
  double left_ns = options.budget_ms * 1e6;
  double pace = 1;
  double weights = 0;
  for (const Regime& regime : regimes) weights += weight_of(regime);
  for (std::size_t r = 0; r < regimes.size(); ++r) {
    const Regime& regime = regimes[r];
    // Regimes of one path and ISA follow each other and share the packed layers.
    const bool shares =
        r > 0 && regime.path == regimes[r - 1].path &&
        regime.isa == regimes[r - 1].isa &&
        (!told || options.tuning.formats[r] == options.tuning.formats[r - 1]);
    if (!shares) {
      candidates.resize(layers.size());
      for (std::size_t i = 0; i < layers.size(); ++i) {
        options.checkpoint();
        const std::string& format =
            told ? options.tuning.formats[r][i] : options.format;
        candidates[i] = pack_candidates(layers[i], static_cast<int>(i), regime, format,
                                        untimed, candidates[i]);
      }
    }
    RegimeTuner tuner(layers, candidates, regime, extent, options.checkpoint);
    if (told) {
      tuner.follow(options.tuning.ns[r]);
    } else {
      const double start = clock_ns();
      tuner.time(left_ns * weight_of(regime) / weights, &pace);
      left_ns -= clock_ns() - start;
      weights -= weight_of(regime);
    }
    ns.push_back(tuner.ns());
    for (std::size_t i = 0; i < layers.size(); ++i) {
      steps[i].packed.push_back(tuner.packed(i));
      choices->push_back(tuner.choice(i));
    }
  }
  for (std::size_t i = 0; options.threads > 1 && i < layers.size(); ++i) {
    const Kernel& kernel = *steps[i].packed[0]->kernel;
    if (guess_ns(kernel, layers[i], regimes[0]) > kSplitNs)
      steps[i].parts = split_rows(layers[i], kernel, options.threads);
  }
  return std::make_unique<Network>(regimes, extent, std::move(steps), std::move(ns));
}

}  // namespace sparseagent
