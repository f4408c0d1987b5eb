// Cases through every kernel, compared bit for bit with what the scalar reference made
// of them:   cases fibers|threads FILE...
//
// A file is int64 (bytes of the policy, observations, dtype of every input), the
// policy, the inputs [batch, *shape], all outputs float32 [batch, size], and the
// actions.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/image.h"
#include "guarded.h"
#include "kernels.h"
#include "on_cpu.h"
#include "policy/read.h"

using namespace sparseagent;
using on_cpu::Order;

namespace {

// Bytes of a file, one part after the other.
class Reader {
 public:
  explicit Reader(const char* path) {
    std::ifstream file(path, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
  }
  const char* take(std::size_t count) {
    if (at_ + count > bytes_.size()) throw std::runtime_error("a case is too short");
    at_ += count;
    return bytes_.data() + at_ - count;
  }
  std::size_t number() {
    std::int64_t value;
    std::memcpy(&value, take(sizeof value), sizeof value);
    return static_cast<std::size_t>(value);
  }

 private:
  std::vector<char> bytes_;
  std::size_t at_ = 0;
};

struct Case {
  Program program;
  std::size_t batch = 0;
  std::vector<DType> dtypes;
  std::vector<const char*> inputs;
  std::vector<const char*> outputs;  // expected
  const char* actions = nullptr;     // expected
  bool samples = false;
  Draw draw;
  std::vector<std::int64_t> rows;
  const char* masks = nullptr;
  const char* sampled = nullptr;  // expected, as the next two
  const char* raw = nullptr;
  const char* log_probs = nullptr;

  std::size_t input_bytes(std::size_t k) const {  // of one observation
    return static_cast<std::size_t>(program.inputs[k].step.size * bytes_of(dtypes[k]));
  }
  std::size_t output_bytes(std::size_t k) const {
    return sizeof(float) * static_cast<std::size_t>(program.outputs[k].second.size);
  }
  std::size_t action_bytes() const {
    const auto count = static_cast<std::size_t>(program.head.actions);
    return program.head.discrete() ? count * sizeof(std::int64_t) : output_bytes(0);
  }
};

Case read_case(Reader* reader) {
  Case c;
  const std::size_t bytes = reader->number();
  c.batch = reader->number();
  const char* policy = nullptr;
  const std::size_t inputs = reader->number();
  for (std::size_t k = 0; k < inputs; ++k) {
    c.dtypes.push_back(static_cast<DType>(reader->number()));
  }
  c.samples = reader->number() != 0;
  const bool masked = reader->number() != 0;
  policy = reader->take(bytes);
  c.program = read_policy(policy, bytes);
  for (std::size_t k = 0; k < inputs; ++k) {
    c.inputs.push_back(reader->take(c.batch * c.input_bytes(k)));
  }
  for (std::size_t k = 0; k < c.program.outputs.size(); ++k) {
    c.outputs.push_back(reader->take(c.batch * c.output_bytes(k)));
  }
  c.actions = reader->take(c.batch * c.action_bytes());
  if (!c.samples) return c;
  c.draw.seed = reader->number();
  c.draw.step = reader->number();
  const char* rows = reader->take(c.batch * sizeof(std::int64_t));
  c.rows.resize(c.batch);  // in the file they lie anywhere
  std::memcpy(c.rows.data(), rows, c.batch * sizeof(std::int64_t));
  const Head& head = c.program.head;
  if (masked) c.masks = reader->take(c.batch * static_cast<std::size_t>(head.size));
  c.sampled = reader->take(c.batch * c.action_bytes());
  if (!head.discrete()) c.raw = reader->take(c.batch * c.action_bytes());
  c.log_probs = reader->take(c.batch * sizeof(float));
  return c;
}

// A program's layers with weights packed for one shape.
struct Image {
  cuda::Outline outline;
  cuda::Weights weights;
  cuda::Net net;

  Image(const Program& program, const cuda::Shape& shape) : outline(program) {
    std::vector<LayerView> layers;
    for (const Op& op : program.ops) {
      if (op.kind == OpKind::linear) layers.push_back(op.layer);
    }
    weights = cuda::pack(outline, layers, shape);
    net = outline.net_at(outline.words().data(), outline.doubles().data());
    net.pairs = weights.pairs.data();
    net.rows = weights.rows.data();
  }
};

struct Launch {
  std::size_t batch;
  unsigned cluster;
  unsigned block;
  bool one;  // block, or cluster, for all tiles
  Order order;
  cuda::Acts acts;  // the head's actions, or all outputs
};

bool run(const Case& c, const Image& image, const cuda::Shape& shape, const Launch& l) {
  cuda::Call call = {};
  std::vector<std::unique_ptr<Guarded>> memory;
  for (std::size_t k = 0; k < c.inputs.size(); ++k) {
    memory.push_back(std::make_unique<Guarded>(l.batch * c.input_bytes(k)));
    std::memcpy(memory.back()->data(), c.inputs[k], l.batch * c.input_bytes(k));
    call.inputs[k] = memory.back()->data();
    call.dtypes[k] = c.dtypes[k];
  }
  const bool acts = l.acts != cuda::Acts::none;
  const std::size_t wanted = acts ? 1 : c.outputs.size();
  for (std::size_t k = 0; k < wanted; ++k) {
    const std::size_t bytes = acts ? c.action_bytes() : c.output_bytes(k);
    memory.push_back(std::make_unique<Guarded>(l.batch * bytes));
    memory.back()->poison();
    call.outputs[k] = memory.back()->data();
  }
  call.batch = static_cast<std::int64_t>(l.batch);
  call.wanted = static_cast<std::int32_t>(wanted);
  call.acts = l.acts;
  const bool samples = l.acts == cuda::Acts::sample;
  Guarded log_probs(l.batch * sizeof(float));
  Guarded raw(l.batch * c.action_bytes());
  if (samples) {
    call.draw = c.draw;
    call.draws = 1;
    call.wide_rows = 1;
    call.rows = c.rows.data();
    call.masks = c.masks;
    call.log_probs = reinterpret_cast<float*>(log_probs.data());
    if (c.raw != nullptr) call.samples = reinterpret_cast<float*>(raw.data());
  }
  const auto columns = static_cast<std::size_t>(shape.columns());
  const auto tiles = static_cast<unsigned>((l.batch + columns - 1) / columns);
  const bool met = on_cpu::launch(
      (l.one ? 1 : tiles) * l.cluster, l.block, l.cluster, image.net.tile_bytes(shape),
      l.order, [&] { run_kernel(shape, l.cluster > 1, image.net, call); });
  if (!met) return false;
  for (std::size_t k = 0; k < wanted; ++k) {
    const char* expected = samples ? c.sampled : acts ? c.actions : c.outputs[k];
    const std::size_t bytes = acts ? c.action_bytes() : c.output_bytes(k);
    if (std::memcmp(call.outputs[k], expected, l.batch * bytes) != 0) return false;
  }
  if (!samples) return true;
  if (c.raw != nullptr &&
      std::memcmp(raw.data(), c.raw, l.batch * c.action_bytes()) != 0) {
    return false;
  }
  return std::memcmp(log_probs.data(), c.log_probs, l.batch * sizeof(float)) == 0;
}

class Runner {
 public:
  explicit Runner(bool threads) : threads_(threads) {}

  void run(const char* path) {
    Reader reader(path);
    const Case c = read_case(&reader);
    for (const cuda::Shape& shape : cuda::kShapes) {
      const Image image(c.program, shape);
      for (const unsigned cluster : {1u, 2u, 4u}) {
        if (!has_kernel(shape, cluster > 1)) continue;
        for (const std::size_t batch : batches(c.batch, shape)) {
          ++number_;
          const Launch launch = {batch,
                                 cluster,
                                 number_ % 5 == 0 && !threads_ ? 256u : 64u,
                                 number_ % 3 == 0,
                                 order(),
                                 acts(c, shape, cluster)};
          note(::run(c, image, shape, launch), path, shape, launch);
        }
      }
    }
  }

  bool failed() const { return failed_ > 0; }

  int finish() const {
    std::printf("%ld passed, %ld failed\n", passed_, failed_);
    return failed_ == 0 ? 0 : 1;
  }

 private:
  // About the edges of tiles, and all there are.
  std::vector<std::size_t> batches(std::size_t most, const cuda::Shape& shape) const {
    const auto columns = static_cast<std::size_t>(shape.columns());
    std::vector<std::size_t> all;
    for (const std::size_t batch :
         {std::size_t{1}, columns - 1, columns, columns + 1, 2 * columns + 3, most}) {
      if (batch <= most && (all.empty() || batch > all.back())) all.push_back(batch);
    }
    if (threads_ && all.size() > 2) all.resize(2);
    return all;
  }

  cuda::Acts acts(const Case& c, const cuda::Shape& shape, unsigned cluster) const {
    if (c.samples && cluster == 1 && cuda::samples(shape) && number_ % 2 == 0) {
      return cuda::Acts::sample;
    }
    return number_ % 4 == 1 ? cuda::Acts::mode : cuda::Acts::none;
  }

  Order order() const {
    if (threads_) return Order::threads;
    constexpr Order kOrders[] = {Order::forward, Order::backward, Order::shuffled};
    return kOrders[number_ % 3];
  }

  void note(bool same, const char* path, const cuda::Shape& shape, const Launch& l) {
    if (same) {
      ++passed_;
      return;
    }
    if (++failed_ > 10) return;
    std::printf("FAILED: %s, tile %d x %d, cluster %u, batch %zu, order %d, %s\n", path,
                shape.lanes(), shape.vectors, l.cluster, l.batch,
                static_cast<int>(l.order),
                l.acts == cuda::Acts::none ? "outputs" : "actions");
  }

  bool threads_;
  long number_ = 0;
  long passed_ = 0;
  long failed_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const std::string mode = argv[1];
  Runner runner(mode == "threads");
  for (int i = 2; i < argc; ++i) {
    runner.run(argv[i]);
    if (mode == "until" && runner.failed()) break;
  }
  return runner.finish();
}
