#include "core/tune.h"

#include <algorithm>
#include <cmath>
#include <deque>
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

// A kernel that multiplies by every weight needs no luck with the structure: it wins
// where others are hardly better.
constexpr double kDenseBonus = 0.98;

// Assignments that are timed as a whole, at most: with a thousand layers there would be
// thousands, of a thousand numbers each.
constexpr std::size_t kMostEntrants = 64;

// Of a regime's time, the part in which layers are timed alone.
constexpr double kAlone = 0.5;

// Of a regime's time, the part at the end in which what was chosen is timed again.
constexpr double kChosen = 0.15;

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

// What an op that is no layer should take, in ns: a few cycles a vector.
double guess_other_ns(const Layout::Step& step, const Regime& regime) {
  return 5 + 1.0 * step.size * regime.columns / regime.isa->kernels[0]->lanes;
}

// Chooses the kernels of all layers in one regime.
class RegimeTuner {
 public:
  RegimeTuner(const std::vector<LayerView>& layers,
              const std::vector<Candidates>& candidates, const Layout& layout,
              const Program& program, std::size_t regime,
              const std::function<void()>& checkpoint)
      : layers_(layers),
        candidates_(candidates),
        layout_(layout),
        regime_(layout.regimes()[regime]),
        checkpoint_(checkpoint),
        workspace_(sizeof(float) * layout.floats()),
        picked_(layers.size(), 0) {
    const auto columns = static_cast<std::size_t>(regime_.columns);
    for (const Input& input : program.inputs) {
      memory_.push_back(
          probe(columns * static_cast<std::size_t>(input.step.features())));
      rows_.push_back(memory_.back().data());
    }
    for (const auto& output : program.outputs) {
      memory_.emplace_back(columns * static_cast<std::size_t>(output.second.size));
      outputs_.push_back(memory_.back().data());
    }
    for (const Candidates& c : candidates) alone_.emplace_back(c.size(), -1.0);
  }

  // There is one candidate for each layer, as told.
  void follow(double ns) { ns_ = ns; }

  // The candidates come with the best guess first, which stays where there is no time.
  // `pace`: ns measured for each one guessed, so far; the same of this regime after it.
  void time(double budget_ns, double* pace) {
    double guess = 0;
    for (const Layout::Step& step : layout_.steps()) {
      const auto i = static_cast<std::size_t>(step.number);
      guess += is_layer(step.kind)
                   ? guess_ns(*candidates_[i][0]->kernel, layers_[i], regime_)
                   : guess_other_ns(step, regime_);
    }
    ns_ = *pace * guess;
    if (budget_ns < kPasses * ns_) return;
    const double start = clock_ns();
    time_alone(start + kAlone * budget_ns);
    time_together(start + (1 - kChosen) * budget_ns);
    time_chosen(start + budget_ns);
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
  Walk::Call call() {
    return {regime_.columns, rows_.data(), outputs_.data(), outputs_.size(),
            workspace_.floats()};
  }

  // Every layer by itself, on what the ops before it give.
  void time_alone(double deadline_ns) {
    auto left = static_cast<double>(layers_.size());
    const std::vector<Walk> walks = single_walks();
    for (std::size_t s = 0; s < layout_.steps().size(); ++s) {
      const Layout::Step& step = layout_.steps()[s];
      const double now = clock_ns();
      if (now >= deadline_ns) return;
      if (!is_layer(step.kind)) {
        walks[0].run_step(s, call());
        continue;
      }
      const auto i = static_cast<std::size_t>(step.number);
      const auto run = [&](std::size_t c) { walks[c].run_step(s, call()); };
      if (candidates_[i].size() > 1) {
        alone_[i] = race(candidates_[i].size(), now + (deadline_ns - now) / left, run,
                         checkpoint_);
        picked_[i] = static_cast<std::size_t>(
            std::min_element(alone_[i].begin(), alone_[i].end()) - alone_[i].begin());
      }
      run(picked_[i]);
      left -= 1;
    }
  }

  // Walks in which every candidate of every layer occurs: number c takes candidate c of
  // each layer that has one.
  std::vector<Walk> single_walks() const {
    std::size_t most = 1;
    for (const Candidates& c : candidates_) most = std::max(most, c.size());
    std::vector<Walk> walks;
    for (std::size_t c = 0; c < most; ++c) {
      Assignment all;
      for (const Candidates& each : candidates_)
        all.push_back(std::min(c, each.size() - 1));
      walks.emplace_back(layout_, regime_, layers_of(all));
    }
    return walks;
  }

  // Alone, a layer finds its weights in the cache; together, they must share it. So the
  // best of the layers must win against every single format, wherever that is near.
  void time_together(double deadline_ns) {
    std::vector<Assignment> entrants = alternatives();
    std::vector<Walk> walks;
    for (const Assignment& entrant : entrants)
      walks.emplace_back(layout_, regime_, layers_of(entrant));
    const auto run = [&](std::size_t i) { walks[i].run(call()); };
    const auto ns = race(walks.size(), deadline_ns, run, checkpoint_);
    std::size_t best = 0;
    const auto rank = [&](std::size_t i) {
      return ns[i] * (needs_no_luck(entrants[i]) ? kDenseBonus : 1.0);
    };
    for (std::size_t i = 1; i < entrants.size(); ++i) {
      if (rank(i) < rank(best)) best = i;
    }
    picked_ = entrants[best];
    ns_ = ns[best];
  }

  // Regimes are weighed against each other by what they cost. In the race a large
  // network finds its weights driven out by the others', the more of them there are: a
  // regime would look up to twice as slow as it is.
  void time_chosen(double deadline_ns) {
    const Walk chosen(layout_, regime_, layers_of(picked_));
    const auto run = [&](std::size_t) { chosen.run(call()); };
    ns_ = std::min(ns_, race(1, deadline_ns, run, checkpoint_)[0]);
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
    if (layers_.empty()) return all;
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

  bool needs_no_luck(const Assignment& assignment) const {
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      if (!candidates_[i][assignment[i]]->kernel->every_weight) return false;
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
  const Layout& layout_;
  const Regime regime_;
  const std::function<void()>& checkpoint_;
  std::deque<std::vector<float>> memory_;
  std::vector<const float*> rows_;
  std::vector<float*> outputs_;
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

std::unique_ptr<Schedule> build_schedule(const Isa& isa, const Program& program,
                                         const BuildOptions& options,
                                         std::vector<Choice>* choices) {
  std::vector<LayerView> layers;
  for (const Op& op : program.ops) {
    if (is_layer(op.kind)) layers.push_back(op.layer);
  }
  Layout layout(program, regimes_with_room(program, regimes_of(isa)));
  const std::vector<Regime>& regimes = layout.regimes();
  const bool told = !options.tuning.empty();
  const bool untimed = told || options.budget_ms <= 0;
  if (told) check_tuning(options.tuning, regimes.size(), layers.size());
  std::vector<Schedule::Layer> packed(layers.size());
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
    RegimeTuner tuner(layers, candidates, layout, program, r, options.checkpoint);
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
      packed[i].packed.push_back(tuner.packed(i));
      choices->push_back(tuner.choice(i));
    }
  }
  for (std::size_t i = 0; options.threads > 1 && i < layers.size(); ++i) {
    const Kernel& kernel = *packed[i].packed[0]->kernel;
    if (layers[i].window != nullptr) continue;  // rows of these write apart
    if (guess_ns(kernel, layers[i], regimes[0]) > kSplitNs)
      packed[i].parts = split_rows(layers[i], kernel, options.threads);
  }
  return std::make_unique<Schedule>(std::move(layout), std::move(packed),
                                    std::move(ns));
}

}  // namespace sparseagent
