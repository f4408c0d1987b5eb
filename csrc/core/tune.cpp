#include "core/tune.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>

namespace sparseagent {
namespace {

using Clock = std::chrono::steady_clock;

double now_ns() {
  return std::chrono::duration<double, std::nano>(Clock::now().time_since_epoch())
      .count();
}

// The least time of one call, in ns: interruptions only add. Samples of several calls,
// so that the clock, which takes tens of ns itself, does not matter.
class Stopwatch {
 public:
  template <typename F>
  void sample(F&& f) {
    const double start = now_ns();
    for (int i = 0; i < calls_; ++i) f();
    const double taken = now_ns() - start;
    best_ = std::min(best_, taken / calls_);
    if (taken < 2000) calls_ *= 2;
  }
  double ns() const { return best_; }

 private:
  double best_ = std::numeric_limits<double>::infinity();
  int calls_ = 1;
};

// Times `count` functions f(0), f(1), ... in turns: a disturbance hits all of them.
// Three rounds at least, whatever the budget.
template <typename F>
std::vector<double> race(std::size_t count, double budget_ns, F&& f) {
  std::vector<Stopwatch> watches(count);
  for (std::size_t i = 0; i < count; ++i) f(i);  // touch the data
  const double start = now_ns();
  for (int round = 0; round < 3 || now_ns() - start < budget_ns; ++round) {
    for (std::size_t i = 0; i < count; ++i) watches[i].sample([&] { f(i); });
  }
  std::vector<double> ns;
  for (const Stopwatch& watch : watches) ns.push_back(watch.ns());
  return ns;
}

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

// Untimed guess: what the crossovers of these kernels suggest. The lower, the better.
double guess_cost(const Kernel& kernel, const LayerView& layer, Path path) {
  const std::string format = kernel.format;
  const double density = layer.nnz() / (static_cast<double>(layer.out) * layer.in);
  if (format == "dense") return path == Path::one ? 0.12 : 0.55;
  if (format == "perm") return 0.45 * density;
  return density;
}

bool has_path(const Kernel& kernel, Path path) {
  return path == Path::one ? kernel.has_one : kernel.has_tile;
}

// The kernel of that name; null if `format` is empty.
const Kernel* named_kernel(const Isa& isa, const std::string& format) {
  if (format.empty()) return nullptr;
  std::string known;
  for (int i = 0; i < isa.kernel_count; ++i) {
    const Kernel* kernel = isa.kernels[i];
    if (!kernel->has_one && !kernel->has_tile) continue;
    if (format == kernel->format) return kernel;
    known += ", " + std::string(kernel->format);
  }
  throw std::invalid_argument("format: expected auto" + known + " on isa " + isa.name +
                              ", got '" + format + "'");
}

// A forced format holds for the paths it has; the others choose among all.
std::vector<const Kernel*> legal_kernels(const Isa& isa, const LayerView& layer,
                                         int number, Path path, const Kernel* forced) {
  std::vector<const Kernel*> legal;
  for (int i = 0; i < isa.kernel_count; ++i) {
    const Kernel* kernel = isa.kernels[i];
    if (!has_path(*kernel, path)) continue;
    if (forced != nullptr && has_path(*forced, path) && kernel != forced) continue;
    if (kernel->packed_bytes(layer, path) > 0) legal.push_back(kernel);
  }
  if (legal.empty()) {
    throw std::invalid_argument("format: '" + std::string(forced->format) +
                                "' cannot follow the structure and order of layer " +
                                std::to_string(number) +
                                "; dense needs a policy repacked to 'ascending', block "
                                "neighbouring rows with the same columns");
  }
  return legal;
}

// One of the ways in which a network holds its layers.
struct Regime {
  const char* name;
  const Isa* isa;
  Path path;
  int vectors;  // of the tile that is timed
  PackedLayer Network::Step::* packed;
};

// One layer in one regime: pack every legal candidate, time it on `x`, keep the
// fastest.
class Contest {
 public:
  Contest(const Isa& isa, const LayerView& layer, int number, const Regime& regime,
          const Kernel* forced)
      : layer_(layer), path_(regime.path), vectors_(regime.vectors) {
    choice_.layer = number;
    choice_.regime = regime.name;
    for (const Kernel* kernel : legal_kernels(isa, layer, number, path_, forced)) {
      packed_.emplace_back(*kernel, layer, path_);
    }
  }

  PackedLayer decide(float* x, float* y, double budget_ns, Choice* choice) {
    std::vector<double> cost;
    const bool timed = budget_ns > 0 && packed_.size() > 1;
    if (timed) {
      cost = race(packed_.size(), budget_ns,
                  [&](std::size_t i) { run(packed_[i], x, y); });
    } else {
      for (const PackedLayer& p : packed_)
        cost.push_back(guess_cost(*p.kernel, layer_, path_));
    }
    for (std::size_t i = 0; i < packed_.size(); ++i) {
      choice_.candidates.push_back(
          {packed_[i].kernel->format, timed ? cost[i] : -1, packed_[i].data.bytes()});
    }
    const auto best = static_cast<std::size_t>(
        std::min_element(cost.begin(), cost.end()) - cost.begin());
    choice_.format = packed_[best].kernel->format;
    run(packed_[best], x, y);
    *choice = choice_;
    return std::move(packed_[best]);
  }

 private:
  void run(const PackedLayer& packed, float* x, float* y) const {
    if (path_ == Path::one) {
      packed.one(x, y);
    } else {
      packed.tile(x, y, vectors_);
    }
  }

  const LayerView& layer_;
  const Path path_;
  const int vectors_;
  Choice choice_;
  std::vector<PackedLayer> packed_;
};

int widest(const std::vector<LayerView>& layers) {
  int width = 0;
  for (const LayerView& layer : layers)
    width = std::max({width, layer.in, layer.chains()});
  return width;
}

// What the cuts of a batch cost, measured on the whole network, or guessed.
std::vector<double> measure_costs(const Network& network, double budget_ns) {
  const std::vector<Cut>& cuts = network.cuts();
  std::vector<double> guess;
  for (const Cut& cut : cuts) {
    guess.push_back(cut.kind == Cut::Kind::few ? 0.5 + 0.5 * cut.columns
                                               : 2.0 + cut.columns / 16.0);
  }
  if (budget_ns <= 0) return guess;
  const auto rows = probe(static_cast<std::size_t>(network.widest_cut()) *
                          static_cast<std::size_t>(network.input_size()));
  std::vector<float> outputs(
      static_cast<std::size_t>(network.widest_cut() * network.output_size()));
  Buffer workspace(sizeof(float) * network.workspace_floats());
  return race(cuts.size(), budget_ns, [&](std::size_t i) {
    network.forward_cut(cuts[i], rows.data(), cuts[i].columns, outputs.data(),
                        workspace.floats());
  });
}

}  // namespace

std::unique_ptr<Network> build_network(const Isa& isa,
                                       const std::vector<LayerView>& layers,
                                       const std::string& format, double budget_ms,
                                       std::vector<Choice>* choices) {
  const Isa* narrow = narrower_isa(isa);
  const int lanes = isa.kernels[0]->lanes;
  const int vectors = isa.kernels[0]->tile_vectors;
  std::vector<Regime> regimes = {
      {"one", &isa, Path::one, 0, &Network::Step::one},
      {"tile", &isa, Path::tile, vectors, &Network::Step::tile},
  };
  if (narrow != nullptr)
    regimes.push_back({"narrow", narrow, Path::tile, 1, &Network::Step::narrow});
  const auto width = static_cast<std::size_t>(vectors * lanes);
  const auto floats =
      (static_cast<std::size_t>(widest(layers)) + kWidthPadding) * (width + 1);
  // A quarter of the budget for the cuts, the rest over layers and regimes.
  const double share =
      budget_ms * 1e6 * 0.75 / static_cast<double>(regimes.size() * layers.size());
  std::vector<Network::Step> steps(layers.size());
  for (const Regime& regime : regimes) {
    const Kernel* forced = named_kernel(*regime.isa, format);
    Buffer x(sizeof(float) * floats);
    Buffer y(sizeof(float) * floats);
    const auto observations = probe(static_cast<std::size_t>(layers[0].in) * width);
    std::copy(observations.begin(), observations.end(), x.floats());
    for (std::size_t i = 0; i < layers.size(); ++i) {
      Contest contest(*regime.isa, layers[i], static_cast<int>(i), regime, forced);
      Choice choice;
      steps[i].*regime.packed = contest.decide(x.floats(), y.floats(), share, &choice);
      choices->push_back(std::move(choice));
      std::swap(x, y);
    }
  }
  auto network = std::make_unique<Network>(
      lanes, vectors, narrow == nullptr ? 0 : narrow->kernels[0]->lanes,
      std::move(steps), layers.front().in, layers.back().out, widest(layers));
  network->set_costs(measure_costs(*network, budget_ms * 1e6 * 0.25));
  return network;
}

}  // namespace sparseagent
