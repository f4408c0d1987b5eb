// The plan: what a compiled policy is in C++.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/head.h"
#include "core/network.h"
#include "core/observation.h"
#include "core/registry.h"
#include "core/thread_pool.h"
#include "core/tune.h"

namespace sparseagent {

// Throws std::invalid_argument unless every index, offset and number of `layers` is
// safe to use.
void check_layers(const std::vector<LayerView>& layers, std::int32_t observation_size);

// A policy packed for this machine: one kernel per layer and path. Immutable but for
// `update`.
class Plan {
 public:
  struct Options {
    std::string isa;     // empty: the widest this machine runs
    std::string format;  // empty: choose per layer
    int threads = 1;
    double tune_ms = 30;  // budget for timing candidates; 0: a rule of thumb
  };

  // Checks everything that memory safety needs; throws std::invalid_argument.
  Plan(const std::vector<LayerView>& layers, ObservationStep observation, Head head,
       const Options& options);

  int input_size() const { return network_->input_size(); }
  int output_size() const { return network_->output_size(); }
  int threads() const { return pool_.threads(); }
  const Isa& isa() const { return isa_; }
  const Head& head() const { return head_; }
  const Network& network() const { return *network_; }
  const std::vector<Choice>& choices() const { return choices_; }

  // Roughly what a call will take, for the decision to release the interpreter's lock.
  double estimate_ns(std::int64_t batch) const;

  // observations [batch, in] -> outputs [batch, out], before the head. Safe from many
  // threads at once. The first call in a thread allocates that thread's workspace,
  // later ones nothing.
  void forward(Observations observations, std::int64_t batch, float* outputs) const;

  // New values under the same structure; not while another thread is in `forward`.
  // Throws std::invalid_argument if a layer's structure differs.
  void update(const std::vector<LayerView>& layers);

 private:
  void forward_range(Observations observations, std::int64_t first, std::int64_t count,
                     float* outputs) const;

  const Isa& isa_;
  ObservationStep observation_;
  Head head_;
  std::vector<Choice> choices_;
  std::unique_ptr<Network> network_;
  std::vector<std::vector<std::int32_t>>
      structure_;  // shape, indptr, indices of every layer
  mutable ThreadPool pool_;
};

}  // namespace sparseagent
