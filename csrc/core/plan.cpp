#include "core/plan.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "core/act.h"
#include "core/float_mode.h"
#include "core/split.h"

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

// More observations than this, in bytes, come from beyond the second cache.
constexpr std::int64_t kFarBytes = 256 << 10;

// Asks for rows that will be needed next: they are then on their way while the rows
// before them go through the network.
void fetch(const char* rows, std::int64_t bytes) {
  constexpr std::int64_t kLine = 64;
  for (std::int64_t at = 0; at < bytes; at += kLine) __builtin_prefetch(rows + at);
}

float* grown(Buffer* buffer, std::size_t floats) {
  const std::size_t bytes = sizeof(float) * floats;
  if (buffer->bytes() < bytes) *buffer = Buffer(bytes);
  return buffer->floats();
}

// Scratch memory of a calling thread, shared by all plans: grows to what the largest of
// them needs. The threads of a pool have theirs from the start.
float* thread_workspace(std::size_t floats) {
  thread_local Buffer workspace;
  return grown(&workspace, floats);
}

// What heads work in, beside that.
float* act_workspace(std::size_t floats) {
  thread_local Buffer workspace;
  return grown(&workspace, floats);
}

// Rows whose outputs are held at a time, where the head needs so many of each: no more
// than fit into 4 MB.
std::int64_t rows_together(std::int64_t features, std::int64_t batch) {
  constexpr std::int64_t kMostFloats = 1 << 20;
  if (features == 0) return batch;
  return std::min(batch, std::clamp<std::int64_t>(kMostFloats / features, 64, 4096));
}

// Floats of prepared rows, in whole cache lines.
std::size_t row_floats(std::int64_t count) {
  return static_cast<std::size_t>((count + 15) / 16 * 16);
}

}  // namespace

Plan::Plan(Program program, const Options& options)
    : input_size_(program.inputs.front().step.size),
      output_size_(program.outputs.front().second.size),
      threads_(options.threads),
      one_input_(program.inputs.size() == 1),
      as_it_comes_(one_input_ && program.inputs.front().step.identity()),
      isa_(choose_isa(options.isa.c_str())),
      program_(std::move(program)) {
  if (options.threads < 1 || options.threads > ThreadPool::kMaxParts) {
    throw std::invalid_argument("threads: expected 1 to " +
                                std::to_string(ThreadPool::kMaxParts) + ", got " +
                                std::to_string(options.threads));
  }
  if (!(options.tune_ms >= 0) || std::isinf(options.tune_ms)) {
    throw std::invalid_argument("tune: expected a time in ms, 0 or more");
  }
  const BuildOptions build = {options.format, options.tune_ms, options.threads,
                              options.tuning, options.checkpoint};
  schedule_ = build_schedule(isa_, program_, build, &choices_);
  for (const Schedule::Layer& layer : schedule_->layers()) {
    split_ |= !layer.parts.empty();
  }
  for (Op& op : program_.ops) {
    if (!is_layer(op.kind)) continue;
    structure_.emplace_back(op.layer);
    least_ns_ += kLeastNs * op.layer.nnz();
    op.layer = {};  // its numbers are packed
  }
  program_.layer_memory.clear();
  const Layout& layout = schedule_->layout();
  std::size_t rows = 0;
  for (const Input& input : program_.inputs) {
    rows += row_floats(input.step.features() * std::int64_t{layout.columns()});
  }
  // Behind the walk's own: prepared rows, or the output of a part of a layer.
  walk_floats_ = layout.floats();
  workspace_floats_ = walk_floats_ + std::max(rows, layout.part_floats());
  pool_.emplace(options.threads, sizeof(float) * workspace_floats_);
}

// The rows of all inputs as the network takes them: the caller's own, or prepared ones
// in `memory`.
void Plan::prepare(const Call& call, std::int64_t first, std::int64_t count,
                   float* memory, const float** rows) const {
  if (as_it_comes_ && call.inputs->dtype == DType::float32) {
    rows[0] = static_cast<const float*>(call.inputs->data) + first * input_size_;
    return;
  }
  for (std::size_t k = 0; k < program_.inputs.size(); ++k) {
    const ObservationStep& step = program_.inputs[k].step;
    const Observations& given = call.inputs[k];
    if (given.dtype == DType::float32 && step.identity()) {
      rows[k] = static_cast<const float*>(given.data) + first * step.size;
    } else {
      step.apply(given, first, count, memory, isa_.transposes);
      rows[k] = memory;
      memory += row_floats(step.features() * count);
    }
  }
}

void Plan::forward_range(const Call& call, std::int64_t first, std::int64_t count,
                         float* workspace) const {
  const Schedule& schedule = *schedule_;
  const Observations& given = call.inputs[0];
  const std::int64_t row_bytes = input_size_ * bytes_of(given.dtype);
  const bool far = count * row_bytes > kFarBytes;
  const char* data = static_cast<const char*>(given.data);
  const float* rows[kMostInputs];
  float* outputs[kMostOutputs];
  for (std::int64_t done = 0; done < count;) {
    const Cut cut = schedule.cover().next(count - done);
    const std::int64_t from = first + done;
    // Rows are prepared a cut at a time: they are still in the cache when they are
    // used.
    prepare(call, from, cut.count, workspace + walk_floats_, rows);
    const std::int64_t next = done + cut.count;
    if (far) {
      fetch(data + (first + next) * row_bytes,
            std::min<std::int64_t>(cut.count, count - next) * row_bytes);
    }
    outputs[0] = call.outputs[0] + from * output_size_;
    for (std::size_t k = 1; k < call.wanted; ++k) {
      float* all = call.outputs[k];
      outputs[k] =
          all == nullptr ? nullptr : all + from * program_.outputs[k].second.size;
    }
    schedule.walk(cut.regime).run({cut.count, rows, outputs, call.wanted, workspace});
    done = next;
  }
}

// Observations for each thread, by what the cuts cost; `batch` if sharing does not pay.
std::int64_t Plan::share_of(std::int64_t batch) const {
  const Cover& cover = schedule_->cover();
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

void Plan::forward_shared(const Call& call, std::int64_t batch,
                          std::int64_t share) const {
  // Long shares are cut again, so that a thread that is held up leaves work to others.
  const std::int64_t widest = schedule_->cover().bulk();
  if (share > 2 * widest) share = (share / 4 + widest - 1) / widest * widest;
  constexpr std::int64_t kMost = ThreadPool::kMaxParts;
  if (share * kMost < batch) {
    share = ((batch + kMost - 1) / kMost + widest - 1) / widest * widest;
  }
  struct Shares {
    const Plan* plan;
    const Call* call;
    std::int64_t batch;
    std::int64_t share;
  };
  const Shares shares = {this, &call, batch, share};
  pool_->run(
      [](const void* context, int part, void* scratch) {
        const Shares& s = *static_cast<const Shares*>(context);
        const std::int64_t first = part * s.share;
        const std::int64_t count = std::min(s.share, s.batch - first);
        s.plan->forward_range(*s.call, first, count, static_cast<float*>(scratch));
      },
      &shares, static_cast<int>((batch + share - 1) / share), true,
      thread_workspace(workspace_floats_));
}

// One observation, op by op, the rows of a large layer split among the threads.
void Plan::forward_split(const Call& call, bool wake) const {
  struct Task {
    const std::vector<RowPart>* parts;
    std::size_t floats;
    const float* x;
    float* y;
  };
  const auto run_part = [](const void* context, int part, void* scratch) {
    const Task& task = *static_cast<const Task*>(context);
    const RowPart& rows = (*task.parts)[static_cast<std::size_t>(part)];
    // Kernels write beyond their last row: each part has an output of its own first.
    float* own = static_cast<float*>(scratch) + task.floats;
    rows.packed->kernel->run(rows.packed->data.get(), {Path::one, 1, 0, 1, 0}, task.x,
                             own);
    std::copy(own, own + rows.rows, task.y + rows.first);
  };
  const Layout& layout = schedule_->layout();
  float* workspace = thread_workspace(workspace_floats_);
  const float* rows[kMostInputs];
  prepare(call, 0, 1, workspace + walk_floats_, rows);
  const Walk::Call walked = {1, rows, call.outputs, call.wanted, workspace};
  const Walk& walk = schedule_->walk(0);
  for (std::size_t s = 0; s < layout.steps().size(); ++s) {
    const Layout::Step& step = layout.steps()[s];
    const std::vector<RowPart>* parts = nullptr;
    if (step.kind == OpKind::linear && !step.moves()) {
      parts = &schedule_->layers()[static_cast<std::size_t>(step.number)].parts;
    }
    if (parts == nullptr || parts->empty()) {
      walk.run_step(s, walked);
      continue;
    }
    float* x = workspace + step.x.front();
    x[step.in] = 0.0f;
    const Task task = {parts, walk_floats_, x, workspace + step.y};
    pool_->run(run_part, &task, static_cast<int>(parts->size()), wake, workspace);
  }
  walk.copy_outputs(walked);
}

// The CPUs that the process may use can change while it runs.
void Plan::look_around(std::int64_t now) const {
  if (now - last_look_.load(std::memory_order_relaxed) < kLookNs) return;
  last_look_.store(now, std::memory_order_relaxed);
  pool_->look_around();
}

void Plan::forward_threaded(const Call& call, std::int64_t batch) const {
  if (pool_->usable() < threads()) look_around(now_ns());
  const bool splits = batch == 1 && split_ && pool_->usable() > 1;
  const std::int64_t share = splits ? 0 : share_of(batch);
  if (share == batch) return forward_alone(call, batch);
  const std::int64_t start = now_ns();
  look_around(start);
  Sharing& sharing = splits ? rows_ : batches_;
  const bool shares = sharing.pays(start);
  if (!shares) {
    forward_alone(call, batch);
  } else if (splits) {
    // Waking the other threads takes longer than the call: only where calls follow each
    // other closely will they be awake for the next one.
    const std::int64_t last = last_split_.load(std::memory_order_relaxed);
    forward_split(call, start - last < kCloseNs);
  } else {
    forward_shared(call, batch, share);
  }
  const std::int64_t end = now_ns();
  if (splits) last_split_.store(end, std::memory_order_relaxed);
  sharing.note(shares, start, end, schedule_->cover().ns(batch));
}

void Plan::forward_alone(const Call& call, std::int64_t batch) const {
  forward_range(call, 0, batch, thread_workspace(workspace_floats_));
}

void Plan::forward(const Call& call, std::int64_t batch) const {
  const PlainFloats plain;
  threads() > 1 ? forward_threaded(call, batch) : forward_alone(call, batch);
}

void Plan::act(const Acting& call, std::int64_t batch) const {
  const PlainFloats plain;  // for the head, too
  const Head& head = program_.head;
  check_acting(head, call);
  const auto size_of = [&](std::int32_t k) {
    return std::int64_t{program_.outputs[static_cast<std::size_t>(k)].second.size};
  };
  // The first output of a continuous head lies where the actions will be, values where
  // they are wanted; others for so many rows at a time.
  const bool samples = call.draw != nullptr || call.log_probs != nullptr;
  const std::int32_t parameter = samples ? head.parameter : -1;
  const std::int64_t features = parameter < 0 ? 0 : size_of(parameter);
  const std::int64_t own = head.discrete() ? head.size : 0;
  const std::int64_t most = rows_together(own + features, batch);
  const auto padding = static_cast<std::int64_t>(kWidthPadding);
  float* const y = act_workspace(static_cast<std::size_t>(
      most * (own + features) + 2 * padding + head_workspace(head, features)));
  float* const given = y + most * own + padding;
  float* const workspace = given + most * features + padding;

  Observations inputs[kMostInputs];
  float* outputs[kMostOutputs] = {};
  std::size_t wanted = 1;
  for (std::int64_t first = 0; first < batch; first += most) {
    const std::int64_t count = std::min(most, batch - first);
    for (std::size_t k = 0; k < program_.inputs.size(); ++k) {
      const Observations& all = call.inputs[k];
      const std::int64_t bytes = program_.inputs[k].step.size * bytes_of(all.dtype);
      inputs[k] = {static_cast<const char*>(all.data) + first * bytes, all.dtype};
    }
    const auto want = [&](std::int32_t k, float* to) {
      outputs[k] = to;
      wanted = std::max(wanted, static_cast<std::size_t>(k) + 1);
    };
    float* actions = static_cast<float*>(call.actions) + first * head.size;
    want(0, own > 0 ? y : actions);
    if (parameter >= 0) want(parameter, given);
    if (call.values != nullptr) {
      want(head.value, call.values + first * size_of(head.value));
    }
    forward({inputs, outputs, wanted}, count);
    const HeadRows rows = {first, count, outputs[0], given};
    act_on(isa_, head, static_cast<std::int32_t>(features), call, rows, workspace);
  }
}

void Plan::fetch_weights() const {
  for (const Schedule::Layer& layer : schedule_->layers()) {
    const PackedLayer& packed = *layer.packed.front();
    fetch(static_cast<const char*>(packed.data.get()),
          static_cast<std::int64_t>(packed.bytes));
  }
}

}  // namespace sparseagent
