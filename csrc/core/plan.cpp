#include "core/plan.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "core/split.h"
#include "core/transpose.h"

namespace sparseagent {
namespace {

// What sharing a call costs: the others must notice, and at the end be waited for.
constexpr double kShareNs = 400;

// A multiplication and addition on the fastest machine there may be.
constexpr double kLeastNs = 0.005;

// How often a process is asked for the CPUs it may use.
constexpr std::int64_t kLookNs = 100000000;

// Calls that follow each other closer than this find the other threads awake.
constexpr std::int64_t kCloseNs = 50000;

std::int64_t now_ns() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

// A column that a row names twice has two weights, of which a dense format holds one.
void check_unique(const LayerView& layer, std::size_t number) {
  std::vector<std::int32_t> seen(static_cast<std::size_t>(layer.in), -1);  // by row
  for (std::int32_t r = 0; r < layer.out; ++r) {
    const std::int64_t first = static_cast<std::int64_t>(r) * layer.runs;
    for (std::int32_t k = layer.indptr[first]; k < layer.indptr[first + layer.runs];
         ++k) {
      std::int32_t& last = seen[static_cast<std::size_t>(layer.indices[k])];
      if (last == r) {
        refuse_layer(number,
                     "indices: expected unique columns within a row, got a repeated "
                     "one");
      }
      last = r;
    }
  }
}

void check_layer(const LayerView& layer, std::size_t number) {
  constexpr std::int32_t kMaxWidth = 1 << 20;
  if (layer.out < 1 || layer.in < 1 || layer.out > kMaxWidth || layer.in > kMaxWidth) {
    refuse_layer(number, "expected widths in [1, 2^20]");
  }
  if (layer.runs < 1 || layer.runs > 64)
    refuse_layer(number, "expected 1 to 64 runs per row");
  const std::int64_t chains = static_cast<std::int64_t>(layer.out) * layer.runs;
  if (layer.indptr[0] != 0) refuse_layer(number, "expected indptr to start at 0");
  for (std::int64_t i = 0; i < chains; ++i) {
    if (layer.indptr[i + 1] < layer.indptr[i])
      refuse_layer(number, "expected indptr never to fall");
  }
  const std::int64_t nnz = layer.indptr[chains];
  for (std::int64_t k = 0; k < nnz; ++k) {
    if (layer.indices[k] < 0 || layer.indices[k] >= layer.in) {
      refuse_layer(number, "expected indices in [0, " + std::to_string(layer.in) +
                               "), got " + std::to_string(layer.indices[k]));
    }
  }
  check_unique(layer, number);
  check_numbers(layer, number);
}

// More observations than this, in bytes, come from beyond the second cache.
constexpr std::int64_t kFarBytes = 256 << 10;

// Asks for rows that will be needed next: they are then on their way while the rows
// before them go through the network.
void fetch(const char* rows, std::int64_t bytes) {
  constexpr std::int64_t kLine = 64;
  for (std::int64_t at = 0; at < bytes; at += kLine) __builtin_prefetch(rows + at);
}

// Scratch memory of a calling thread, shared by all plans: grows to what the largest of
// them needs. The threads of a pool have theirs from the start.
float* thread_workspace(std::size_t floats) {
  thread_local Buffer workspace;
  const std::size_t bytes = sizeof(float) * floats;
  if (workspace.bytes() < bytes) workspace = Buffer(bytes);
  return workspace.floats();
}

}  // namespace

void check_layers(const std::vector<LayerView>& layers, std::int32_t observation_size) {
  if (layers.empty()) throw std::invalid_argument("layers: expected at least one");
  std::int32_t width = observation_size;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    check_layer(layers[i], i);
    if (layers[i].in != width) {
      refuse_layer(i, "expected " + std::to_string(width) + " inputs, got " +
                          std::to_string(layers[i].in));
    }
    width = layers[i].out;
  }
}

Plan::Plan(const std::vector<LayerView>& layers, ObservationStep observation, Head head,
           const Options& options)
    : isa_(choose_isa(options.isa.c_str())),
      observation_(std::move(observation)),
      head_(std::move(head)) {
  if (options.threads < 1 || options.threads > ThreadPool::kMaxParts) {
    throw std::invalid_argument("threads: expected 1 to " +
                                std::to_string(ThreadPool::kMaxParts) + ", got " +
                                std::to_string(options.threads));
  }
  if (!(options.tune_ms >= 0) || std::isinf(options.tune_ms)) {
    throw std::invalid_argument("tune: expected a time in ms, 0 or more");
  }
  check_layers(layers, observation_.size);
  observation_.check();
  head_.check(layers.back().out);
  const BuildOptions build = {options.format, options.tune_ms, options.threads,
                              options.tuning, options.checkpoint};
  network_ = build_network(isa_, layers, build, &choices_);
  for (const Network::Step& step : network_->steps()) split_ |= !step.parts.empty();
  for (const LayerView& layer : layers) {
    structure_.emplace_back(layer);
    least_ns_ += kLeastNs * layer.nnz();
  }
  pool_.emplace(options.threads, sizeof(float) * workspace_floats());
}

std::size_t Plan::workspace_floats() const {
  const Extent& extent = network_->extent();
  // Behind the walk's own: prepared rows, or the output of a part of a layer.
  return extent.workspace() + extent.half_workspace();
}

// The rows as the network takes them: the caller's own, or prepared ones in `rows`.
const float* Plan::prepare(Observations observations, std::int64_t first,
                           std::int64_t count, float* rows) const {
  if (observations.dtype == DType::float32 && observation_.identity()) {
    return static_cast<const float*>(observations.data) + first * input_size();
  }
  observation_.apply(observations, first, count, rows);
  return rows;
}

void Plan::forward_range(Observations observations, std::int64_t first,
                         std::int64_t count, float* outputs, float* workspace) const {
  float* rows = workspace + network_->extent().workspace();
  const std::int64_t row_bytes = input_size() * bytes_of(observations.dtype);
  const bool far = count * row_bytes > kFarBytes;
  const char* data = static_cast<const char*>(observations.data);
  for (std::int64_t done = 0; done < count;) {
    const Cut cut = network_->cover().next(count - done);
    // Rows are prepared a cut at a time: they are still in the cache when they are
    // used.
    const float* from = prepare(observations, first + done, cut.count, rows);
    const std::int64_t next = done + cut.count;
    if (far) {
      fetch(data + (first + next) * row_bytes,
            std::min<std::int64_t>(cut.count, count - next) * row_bytes);
    }
    network_->forward(cut, from, outputs + (first + done) * output_size(), workspace);
    done = next;
  }
}

// Observations for each thread, by what the cuts cost; `batch` if sharing does not pay.
std::int64_t Plan::share_of(std::int64_t batch) const {
  const Cover& cover = network_->cover();
  const std::int64_t unit = isa_.kernels[0]->lanes;
  double best = cover.ns(batch);
  std::int64_t best_share = batch;
  for (int threads = pool_->usable(); threads > 1; threads /= 2) {
    const std::int64_t even = (batch + threads - 1) / threads;
    const std::int64_t share = std::min(batch, (even + unit - 1) / unit * unit);
    const double ns = cover.ns(share) + kShareNs;
    if (ns < best) {
      best = ns;
      best_share = share;
    }
  }
  return best_share;
}

void Plan::forward_shared(Observations observations, std::int64_t batch,
                          std::int64_t share, float* outputs) const {
  // Long shares are cut again, so that a thread that is held up leaves work to others.
  const std::int64_t widest = network_->cover().bulk();
  if (share > 2 * widest) share = (share / 4 + widest - 1) / widest * widest;
  constexpr std::int64_t kMost = ThreadPool::kMaxParts;
  if (share * kMost < batch) {
    share = ((batch + kMost - 1) / kMost + widest - 1) / widest * widest;
  }
  struct Shares {
    const Plan* plan;
    Observations observations;
    std::int64_t batch;
    std::int64_t share;
    float* outputs;
  };
  const Shares shares = {this, observations, batch, share, outputs};
  pool_->run(
      [](const void* context, int part, void* scratch) {
        const Shares& s = *static_cast<const Shares*>(context);
        const std::int64_t first = part * s.share;
        const std::int64_t count = std::min(s.share, s.batch - first);
        s.plan->forward_range(s.observations, first, count, s.outputs,
                              static_cast<float*>(scratch));
      },
      &shares, static_cast<int>((batch + share - 1) / share), true,
      thread_workspace(workspace_floats()));
}

// One observation, layer by layer, the rows of a large layer split among the threads.
void Plan::forward_split(Observations observations, float* output, bool wake) const {
  struct Task {
    const Plan* plan;
    const std::vector<RowPart>* parts;
    const float* x;
    float* y;
  };
  const auto run_part = [](const void* context, int part, void* scratch) {
    const Task& task = *static_cast<const Task*>(context);
    const RowPart& rows = (*task.parts)[static_cast<std::size_t>(part)];
    // Kernels write beyond their last row: each part has an output of its own first.
    float* own =
        static_cast<float*>(scratch) + task.plan->network_->extent().workspace();
    rows.packed->kernel->one(rows.packed->data.get(), task.x, own);
    std::copy(own, own + rows.rows, task.y + rows.first);
  };
  const Extent& extent = network_->extent();
  float* workspace = thread_workspace(workspace_floats());
  float* x = workspace;
  float* y = workspace + extent.half_workspace();
  const float* row = prepare(observations, 0, 1, workspace + extent.workspace());
  std::copy(row, row + input_size(), x);
  const Regime& one = network_->regimes().front();
  for (const Network::Step& step : network_->steps()) {
    if (step.parts.empty()) {
      step.packed.front()->run(one, x, y, extent.stride());
    } else {
      x[step.packed.front()->in] = 0.0f;
      const Task task = {this, &step.parts, x, y};
      pool_->run(run_part, &task, static_cast<int>(step.parts.size()), wake, workspace);
    }
    std::swap(x, y);
  }
  copy_outputs(x, output_size(), output);
}

// The CPUs that the process may use can change while it runs.
void Plan::look_around(std::int64_t now) const {
  if (now - last_look_.load(std::memory_order_relaxed) < kLookNs) return;
  last_look_.store(now, std::memory_order_relaxed);
  pool_->look_around();
}

void Plan::forward_threaded(Observations observations, std::int64_t batch,
                            float* outputs) const {
  if (pool_->usable() < threads()) look_around(now_ns());
  const bool splits = batch == 1 && split_ && pool_->usable() > 1;
  const std::int64_t share = splits ? 0 : share_of(batch);
  if (share == batch) return forward_alone(observations, batch, outputs);
  const std::int64_t start = now_ns();
  look_around(start);
  Sharing& sharing = splits ? rows_ : batches_;
  const bool shares = sharing.pays(start);
  if (!shares) {
    forward_alone(observations, batch, outputs);
  } else if (splits) {
    // Waking the other threads takes longer than the call: only where calls follow each
    // other closely will they be awake for the next one.
    const std::int64_t last = last_split_.load(std::memory_order_relaxed);
    forward_split(observations, outputs, start - last < kCloseNs);
  } else {
    forward_shared(observations, batch, share, outputs);
  }
  const std::int64_t end = now_ns();
  if (splits) last_split_.store(end, std::memory_order_relaxed);
  sharing.note(shares, start, end, network_->cover().ns(batch));
}

void Plan::forward_alone(Observations observations, std::int64_t batch,
                         float* outputs) const {
  forward_range(observations, 0, batch, outputs, thread_workspace(workspace_floats()));
}

void Plan::forward(Observations observations, std::int64_t batch,
                   float* outputs) const {
  threads() > 1 ? forward_threaded(observations, batch, outputs)
                : forward_alone(observations, batch, outputs);
}

void Plan::fetch_weights() const {
  for (const Network::Step& step : network_->steps()) {
    const PackedLayer& packed = *step.packed.front();
    fetch(static_cast<const char*>(packed.data.get()),
          static_cast<std::int64_t>(packed.bytes));
  }
}

}  // namespace sparseagent
