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

#include "core/act.h"
#include "core/observation.h"
#include "core/registry.h"
#include "core/scatter.h"
#include "core/schedule.h"
#include "core/sharing.h"
#include "core/thread_pool.h"
#include "core/tune.h"

namespace sparseagent {

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

  // One batch: of every input [batch, *shape], of the first `wanted` outputs
  // [batch, size], null for those that nobody needs.
  struct Call {
    const Observations* inputs;
    float* const* outputs;
    std::size_t wanted;
    StateRows states = {};  // of a recurrent program
  };

  // How states of so many rows lie; without features if the program has none.
  StateLayout state_layout(std::int64_t rows) const;

  // The program was checked. Throws std::invalid_argument for what the options ask.
  Plan(Program program, const Options& options);

  const Program& program() const { return program_; }

  // Numbers of the first input, as the environment hands them out, and of the first
  // output.
  int input_size() const { return input_size_; }
  int output_size() const { return output_size_; }
  bool one_input() const { return one_input_; }
  int threads() const { return threads_; }
  const Isa& isa() const { return isa_; }
  const Schedule& schedule() const { return *schedule_; }
  const std::vector<Choice>& choices() const { return choices_; }

  // Roughly what a call will take on one thread. At least what the fastest conceivable
  // machine would take, whatever a saved tuning says.
  double estimate_ns(std::int64_t batch) const {
    return std::max(schedule_->cover().ns(batch),
                    least_ns_ * static_cast<double>(batch));
  }

  // Observations to outputs, before the head. Safe from many threads at once. The first
  // call in a thread allocates that thread's workspace, later ones nothing.
  void forward(const Call& call, std::int64_t batch) const;

  // The same for a program with one input, to its first output.
  void forward(Observations observations, std::int64_t batch, float* outputs) const {
    forward({&observations, &outputs, 1}, batch);
  }

  // Observations to actions, and what else the call wants. Throws std::invalid_argument
  // for what the head cannot give.
  void act(const Acting& call, std::int64_t batch) const;

  // Asks for the weights that the next single observation needs; waits for none of
  // them.
  void fetch_weights() const;

  // New values under the same structure; not while another thread is in `forward`. A
  // layer with all its entries in plain order may come without indptr and indices.
  // Throws std::invalid_argument if a layer's structure differs or a number is not
  // finite; the plan is then as it was.
  // `numbers` [count] are those of the head that training changes: log_std, std or
  // epsilon, of the same size; none where it has none.
  void update(std::vector<LayerView> layers, const float* numbers = nullptr,
              std::int64_t count = 0);

 private:
  // A layer without its numbers, to compare with and to pack again from. The indices
  // are there from the first update on; until then a digest says what they must be.
  struct Structure {
    std::int32_t out;
    std::int32_t in;
    std::int32_t runs;
    Activation activation;
    float alpha;
    const Window* window;  // of the program's memory
    bool dense;            // all entries, ascending
    std::string digest;
    std::vector<std::int32_t> indptr;
    std::vector<std::int32_t> indices;

    explicit Structure(const LayerView& layer);
    bool fits(const LayerView& layer) const;
    void keep(const LayerView& layer);
  };

  // Refreshes one packed layer, or a part of its rows.
  struct Refresh {
    std::size_t layer;
    std::int32_t first;
    std::int32_t rows;
    std::shared_ptr<PackedLayer> packed;
    Scatter scatter;
  };

  void forward_range(const Call& call, std::int64_t first, std::int64_t count,
                     float* workspace) const;
  void forward_alone(const Call& call, std::int64_t batch) const;
  void forward_threaded(const Call& call, std::int64_t batch) const;
  void forward_shared(const Call& call, std::int64_t batch, std::int64_t share) const;
  void forward_split(const Call& call, bool wake) const;
  void look_around(std::int64_t now) const;
  std::int64_t share_of(std::int64_t batch) const;
  void prepare(const Call& call, std::int64_t first, std::int64_t count, float* memory,
               float* place, const float** rows) const;
  void check_head(const float* numbers, std::int64_t count) const;
  void update_head(const float* numbers, std::int64_t count);
  void find_places(const std::vector<LayerView>& layers);

  // What every call asks of it, in a cache line of its own.
  alignas(64) const std::int32_t input_size_;
  const std::int32_t output_size_;
  const int threads_;
  const bool one_input_;
  const bool as_it_comes_;  // one input, of which float32 needs no step
  std::unique_ptr<Schedule> schedule_;
  std::size_t walk_floats_ = 0;       // of a workspace; prepared rows lie behind them
  std::size_t workspace_floats_ = 0;  // all of it

  const Isa& isa_;
  Program program_;  // without the numbers of its layers
  std::vector<Choice> choices_;
  std::vector<std::int64_t> walk_inputs_;  // where one observation's inputs lie
  bool split_ = false;                     // one observation is worth several threads
  std::vector<Structure> structure_;
  std::vector<Refresh> refreshes_;  // filled by the first update
  std::vector<float> learnt_;       // what the head points to after an update
  std::vector<float> variance_;
  double least_ns_ = 0;  // for one observation
  mutable std::optional<ThreadPool> pool_;
  mutable Sharing batches_;                          // whether it pays to share a batch
  mutable Sharing rows_;                             // and the rows of layers
  mutable std::atomic<std::int64_t> last_split_{0};  // when, in ns
  mutable std::atomic<std::int64_t> last_look_{0};   // around, in ns
};

}  // namespace sparseagent
