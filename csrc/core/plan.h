// The plan: what a compiled policy is in C++.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/head.h"
#include "core/network.h"
#include "core/observation.h"
#include "core/registry.h"
#include "core/scatter.h"
#include "core/sharing.h"
#include "core/thread_pool.h"
#include "core/tune.h"

namespace sparseagent {

// Throws std::invalid_argument unless every index, offset and number of `layers` is
// safe to use.
void check_layers(const std::vector<LayerView>& layers, std::int32_t observation_size);

// The part of it that new numbers need: expects them to be finite.
void check_numbers(const LayerView& layer, std::size_t number);

// Throws std::invalid_argument with the layer's number before `what`.
[[noreturn]] void refuse_layer(std::size_t number, const std::string& what);

// A policy packed for this machine: one kernel per layer and path. Immutable but for
// `update`.
class Plan {
 public:
  struct Options {
    std::string isa;     // empty: the widest this machine runs
    std::string format;  // empty: choose per layer
    int threads = 1;
    double tune_ms = 30;  // budget for timing candidates; 0: a rule of thumb
    Tuning tuning = {};   // what was chosen before; empty: choose
    // Called often while candidates are packed and timed; what it throws ends that.
    std::function<void()> checkpoint = [] {};
  };

  // Checks everything that memory safety needs; throws std::invalid_argument.
  Plan(const std::vector<LayerView>& layers, ObservationStep observation, Head head,
       const Options& options);

  int input_size() const { return network_->input_size(); }
  int output_size() const { return network_->output_size(); }
  int threads() const { return pool_->threads(); }
  const Isa& isa() const { return isa_; }
  const Head& head() const { return head_; }
  const Network& network() const { return *network_; }
  const std::vector<Choice>& choices() const { return choices_; }

  // Roughly what a call will take on one thread. At least what the fastest conceivable
  // machine would take, whatever a saved tuning says.
  double estimate_ns(std::int64_t batch) const {
    return std::max(network_->cover().ns(batch),
                    least_ns_ * static_cast<double>(batch));
  }

  // observations [batch, in] -> outputs [batch, out], before the head. Safe from many
  // threads at once. The first call in a thread allocates that thread's workspace,
  // later ones nothing.
  void forward(Observations observations, std::int64_t batch, float* outputs) const;

  // Asks for the weights that the next single observation needs; waits for none of
  // them.
  void fetch_weights() const;

  // New values under the same structure; not while another thread is in `forward`. A
  // layer with all its entries in plain order may come without indptr and indices.
  // Throws std::invalid_argument if a layer's structure differs or a number is not
  // finite; the plan is then as it was.
  void update(std::vector<LayerView> layers);

 private:
  // A layer without its numbers, to compare with and to pack again from.
  struct Structure {
    std::int32_t out;
    std::int32_t in;
    std::int32_t runs;
    Activation activation;
    float alpha;
    bool dense;  // all entries, ascending
    std::vector<std::int32_t> indptr;
    std::vector<std::int32_t> indices;

    explicit Structure(const LayerView& layer);
    bool fits(const LayerView& layer) const;
  };

  // Refreshes one packed layer, or a part of its rows.
  struct Refresh {
    std::size_t layer;
    std::int32_t first;
    std::int32_t rows;
    std::shared_ptr<PackedLayer> packed;
    Scatter scatter;
  };

  void forward_range(Observations observations, std::int64_t first, std::int64_t count,
                     float* outputs, float* workspace) const;
  void forward_alone(Observations observations, std::int64_t batch,
                     float* outputs) const;
  void forward_threaded(Observations observations, std::int64_t batch,
                        float* outputs) const;
  void forward_shared(Observations observations, std::int64_t batch, std::int64_t share,
                      float* outputs) const;
  void forward_split(Observations observations, float* output, bool wake) const;
  void look_around(std::int64_t now) const;
  std::int64_t share_of(std::int64_t batch) const;
  const float* prepare(Observations observations, std::int64_t first,
                       std::int64_t count, float* rows) const;
  std::size_t workspace_floats() const;
  void find_places(const std::vector<LayerView>& layers);

  const Isa& isa_;
  ObservationStep observation_;
  Head head_;
  std::vector<Choice> choices_;
  std::unique_ptr<Network> network_;
  bool split_ = false;  // one observation is worth several threads
  std::vector<Structure> structure_;
  std::vector<Refresh> refreshes_;  // filled by the first update
  double least_ns_ = 0;             // for one observation
  mutable std::optional<ThreadPool> pool_;
  mutable Sharing batches_;                          // whether it pays to share a batch
  mutable Sharing rows_;                             // and the rows of layers
  mutable std::atomic<std::int64_t> last_split_{0};  // when, in ns
  mutable std::atomic<std::int64_t> last_look_{0};   // around, in ns
};

}  // namespace sparseagent
