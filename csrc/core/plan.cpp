#include "core/plan.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "core/float_mode.h"
#include "core/split.h"

namespace sparseagent {
namespace {

// What sharing a call costs: the others must notice, and at the end be waited for.
constexpr double kShareNs = 400;

// Calls that follow each other closer than this find the other threads awake.
constexpr std::int64_t kCloseNs = 50000;

std::int64_t now_ns() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
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

// Scratch memory of one thread, shared by all plans: grows to what the largest of them
// needs.
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
      head_(std::move(head)),
      pool_(options.threads) {
  if (options.threads < 1 || options.threads > ThreadPool::kMaxParts) {
    throw std::invalid_argument("threads: expected 1 to " +
                                std::to_string(ThreadPool::kMaxParts) + ", got " +
                                std::to_string(options.threads));
  }
  if (!(options.tune_ms >= 0) || std::isinf(options.tune_ms)) {
    throw std::invalid_argument("tune: expected a time in ms, 0 or more");
  }
  check_layers(layers, observation_.size);
  const auto in = static_cast<std::size_t>(layers.front().in);
  const auto out = static_cast<std::size_t>(layers.back().out);
  for (const auto* part : {&observation_.shift, &observation_.scale}) {
    if (!part->empty() && part->size() != in) {
      throw std::invalid_argument("observation: expected one number per input");
    }
  }
  const bool bounded =
      head_.kind == Head::Kind::clip || head_.kind == Head::Kind::unscale;
  if (bounded && (head_.low.size() != out || head_.high.size() != out)) {
    throw std::invalid_argument("head: expected one bound per output");
  }
  const BuildOptions build = {options.format, options.tune_ms, options.threads,
                              options.tuning};
  network_ = build_network(isa_, layers, build, &choices_);
  for (const Network::Step& step : network_->steps()) split_ |= !step.parts.empty();
  for (const LayerView& layer : layers) structure_.emplace_back(layer);
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
                         std::int64_t count, float* outputs) const {
  float* workspace = thread_workspace(workspace_floats());
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
  for (int threads = pool_.threads(); threads > 1; threads /= 2) {
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
  const std::int64_t widest = network_->extent().columns;
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
  pool_.run(
      [](const void* context, int part) {
        const Shares& s = *static_cast<const Shares*>(context);
        const std::int64_t first = part * s.share;
        const std::int64_t count = std::min(s.share, s.batch - first);
        s.plan->forward_range(s.observations, first, count, s.outputs);
      },
      &shares, static_cast<int>((batch + share - 1) / share), true);
}

// One observation, layer by layer, the rows of a large layer split among the threads.
void Plan::forward_split(Observations observations, float* output) const {
  struct Task {
    const Plan* plan;
    const std::vector<RowPart>* parts;
    const float* x;
    float* y;
  };
  const auto run_part = [](const void* context, int part) {
    const Task& task = *static_cast<const Task*>(context);
    const RowPart& rows = (*task.parts)[static_cast<std::size_t>(part)];
    // Kernels write beyond their last row: each part has an output of its own first.
    float* own = thread_workspace(task.plan->workspace_floats()) +
                 task.plan->network_->extent().workspace();
    rows.packed->kernel->one(rows.packed->data.get(), task.x, own);
    std::copy(own, own + rows.rows, task.y + rows.first);
  };
  // Waking the other threads takes longer than the call: only where calls follow each
  // other closely will they be awake for the next one.
  const std::int64_t start = now_ns();
  const bool wake = start - last_split_.load(std::memory_order_relaxed) < kCloseNs;
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
      pool_.run(run_part, &task, static_cast<int>(step.parts.size()), wake);
    }
    std::swap(x, y);
  }
  isa_.transposes->copy_outputs(x, output_size(), output);
  last_split_.store(now_ns(), std::memory_order_relaxed);
}

void Plan::forward(Observations observations, std::int64_t batch,
                   float* outputs) const {
  const PlainFloats plain;
  if (threads() > 1) {
    if (batch == 1 && split_) return forward_split(observations, outputs);
    const std::int64_t share = share_of(batch);
    if (share < batch) return forward_shared(observations, batch, share, outputs);
  }
  forward_range(observations, 0, batch, outputs);
}

}  // namespace sparseagent
