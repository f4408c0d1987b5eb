#include "policy/read.h"

#include <cmath>
#include <map>
#include <stdexcept>

#include "core/check.h"
#include "policy/fields.h"
#include "policy/read_head.h"
#include "policy/window.h"

namespace sparseagent {
namespace {

// Whatever `read` refuses is refused in the name of one item of a list.
template <typename Read>
void named(const char* list, std::size_t number, const Read& read) {
  try {
    read();
  } catch (const std::invalid_argument& error) {
    refuse(std::string(list) + "[" + std::to_string(number) + "]: " + error.what());
  }
}

class Reader {
 public:
  explicit Reader(std::string_view data) : file_(data) {}

  Program read() {
    const Json& spec = file_.spec();
    if (file_.version() == 1) {
      read_chain(spec);
    } else {
      read_program(spec);
    }
    read_head(spec.at("head"), file_, &program_);
    const char* const kOrders[] = {"ascending", "neon", "avx2", "avx512"};
    program_.order = spec.at("order").text("order");
    numbered("order", program_.order, kOrders);
    spec.at("metadata").members("metadata");
    check_flow(program_);
    return std::move(program_);
  }

 private:
  // ---- version 1: a chain of layers behind one observation step

  void read_chain(const Json& spec) {
    const auto& layers = spec.at("layers").items("layers");
    if (layers.empty() || layers.size() >= kMostOps) {
      refuse("layers: expected 1 to " + std::to_string(kMostOps - 1));
    }
    const Json& observation = spec.at("observation");
    Op observe;
    observe.kind = OpKind::observe;
    read_input("observation", "observation.", observation);
    observe.write = add_slot(program_.inputs[0].step.features());
    program_.ops.push_back(observe);
    for (std::size_t i = 0; i < layers.size(); ++i) {
      Op op;
      op.reads = {program_.ops.back().write};
      named("layers", i, [&] {
        read_layer("layers." + std::to_string(i) + ".", layers[i], &op);
        op.write = add_slot(op.layer.out);
        check_inputs(op);
      });
      program_.ops.push_back(op);
    }
    program_.outputs.emplace_back("action", program_.ops.back().write);
  }

  Span add_slot(std::int32_t size) {
    program_.slots.push_back(size);
    return {static_cast<std::int32_t>(program_.slots.size()) - 1, 0, size};
  }

  // ---- version 2: slots and ops

  void read_program(const Json& spec) {
    for (const auto& [name, size] : spec.at("slots").members("slots")) {
      numbers_.emplace(name, static_cast<std::int32_t>(program_.slots.size()));
      program_.slots.push_back(
          static_cast<std::int32_t>(size.whole("slots", 1, kMaxWidth)));
    }
    const auto& ops = spec.at("ops").items("ops");
    if (ops.empty() || ops.size() > kMostOps) {
      refuse("ops: expected 1 to " + std::to_string(kMostOps));
    }
    for (std::size_t i = 0; i < ops.size(); ++i) {
      named("ops", i, [&] {
        program_.ops.push_back(read_op("ops." + std::to_string(i) + ".", ops[i]));
      });
    }
    for (const auto& [name, span] : spec.at("outputs").members("outputs")) {
      program_.outputs.emplace_back(name, read_span(span));
    }
    if (program_.outputs.empty() || program_.outputs.size() > kMostOutputs) {
      refuse("outputs: expected 1 to " + std::to_string(kMostOutputs));
    }
    if (program_.inputs.empty() || program_.inputs.size() > kMostInputs) {
      refuse("inputs: expected 1 to " + std::to_string(kMostInputs));
    }
  }

  Span read_span(const Json& given) const {
    const bool all = given.is_text();
    if (!all && given.items("span").size() != 3) {
      refuse("span: expected a slot or [slot, start, stop]");
    }
    const std::string& name = (all ? given : given.items("span")[0]).text("span");
    const auto found = numbers_.find(name);
    if (found == numbers_.end())
      refuse("span: unknown slot '" + name.substr(0, 32) + "'");
    const std::int32_t slot = found->second;
    const std::int32_t size = program_.slots[static_cast<std::size_t>(slot)];
    if (all) return {slot, 0, size};
    const std::int64_t start = given.items("span")[1].whole("span", 0, size - 1);
    const std::int64_t stop = given.items("span")[2].whole("span", start + 1, size);
    return {slot, static_cast<std::int32_t>(start),
            static_cast<std::int32_t>(stop - start)};
  }

  Op read_op(const std::string& prefix, const Json& spec) {
    Op op;
    const std::string& kind = spec.at("op").text("op");
    for (std::size_t i = 0; i <= std::size(kOpKinds); ++i) {
      if (i == std::size(kOpKinds)) {
        refuse("unknown op '" + kind.substr(0, 32) +
               "'; a newer sparseagent may read the file");
      }
      if (kind != kOpKinds[i]) continue;
      op.kind = static_cast<OpKind>(i);
      break;
    }
    for (const Json& span : spec.at("reads").items("reads")) {
      op.reads.push_back(read_span(span));
    }
    const auto& writes = spec.at("writes").items("writes");
    if (writes.size() != 1) refuse("writes: expected one span");
    op.write = read_span(writes[0]);
    switch (op.kind) {
      case OpKind::observe: read_observe(prefix, spec, &op); break;
      case OpKind::linear:
        read_layer(prefix, spec, &op);
        check_inputs(op);
        break;
      case OpKind::conv2d: read_conv2d(prefix, spec, &op); break;
      case OpKind::pool: read_pool(spec, &op); break;
      case OpKind::map: read_map(prefix, spec, &op); break;
      case OpKind::norm: read_norm(spec, &op); break;
      case OpKind::combine: read_combine(prefix, spec, &op); break;
      case OpKind::reduce: read_reduce(prefix, spec, &op); break;
    }
    return op;
  }

  // ---- inputs

  void read_observe(const std::string& prefix, const Json& spec, Op* op) {
    const std::string& name = spec.at("input").text("input");
    for (const Input& known : program_.inputs) {
      if (known.name == name) refuse("input: '" + name + "' is observed twice");
    }
    op->input = static_cast<std::int32_t>(program_.inputs.size());
    read_input(name, prefix, spec);
    const std::int32_t size = program_.inputs.back().step.features();
    if (!op->reads.empty() || op->write.size != size) {
      refuse("observe: expected no reads and " + std::to_string(size) + " features");
    }
  }

  void read_input(const std::string& name, const std::string& prefix,
                  const Json& spec) {
    Input input;
    input.name = name;
    std::int64_t size = 1;
    for (const Json& axis : spec.at("shape").items("shape")) {
      input.shape.push_back(axis.whole("shape", 1, kMaxWidth));
      size *= input.shape.back();
      if (size > kMaxWidth || input.shape.size() > kMostAxes)
        refuse("shape: too large");
    }
    ObservationStep& step = input.step;
    step.size = static_cast<std::int32_t>(size);
    std::int64_t taken = size;
    if (file_.has(prefix + "columns")) {
      taken = file_.length(prefix + "columns");
      if (taken < 1 || taken > size) refuse("columns: expected some numbers of a row");
      step.columns = file_.integers(prefix + "columns", {taken}, false);
    }
    if (file_.has(prefix + "shift"))
      step.shift = file_.doubles(prefix + "shift", {taken});
    if (file_.has(prefix + "scale")) {
      const bool one = file_.length(prefix + "scale") == 1;
      step.scale = file_.doubles(prefix + "scale", {one ? 1 : taken});
    }
    const Json& low = spec.at("low");
    const Json& high = spec.at("high");
    step.low = low.is_null() ? -INFINITY : low.number("low");
    step.high = high.is_null() ? INFINITY : high.number("high");
    if (const Json* precision = spec.find("precision")) {
      const char* const kNames[] = {"float64", "float32"};
      step.single = numbered("precision", precision->text("precision"), kNames) == 1;
    }
    if (const Json* categories = spec.find("categories")) {
      for (const Json& count : categories->items("categories")) {
        step.categories.push_back(
            static_cast<std::int32_t>(count.whole("categories", 1, kMaxWidth)));
      }
    }
    if (input.shape.empty() && step.categories.empty())
      refuse("shape: expected an axis");
    const char* const kTypes[] = {"uint8",   "int8",    "int32", "int64",
                                  "float32", "float64", "bool"};
    constexpr int kWholeTypes = 4;
    const int type = numbered("dtype", spec.at("dtype").text("dtype"), kTypes);
    if (!step.categories.empty() && type >= kWholeTypes) {
      refuse("dtype: expected whole numbers with categories");
    }
    step.check();
    program_.inputs.push_back(std::move(input));
  }

  // ---- linear

  void read_layer(const std::string& prefix, const Json& spec, Op* op) {
    const auto& shape = spec.at("shape").items("shape");
    if (shape.size() != 2) refuse("shape: expected (out, in)");
    LayerView& layer = op->layer;
    layer.out = static_cast<std::int32_t>(shape[0].whole("shape", 1, kMaxWidth));
    layer.in = static_cast<std::int32_t>(shape[1].whole("shape", 1, kMaxWidth));
    const std::int64_t all = static_cast<std::int64_t>(layer.out) * layer.in;
    if (all > kMaxNonzeros) refuse("shape: too many weights");
    read_activation(spec, &layer.activation, &layer.alpha);
    layer.bias = keep(file_.floats(prefix + "bias", {layer.out}));
    const std::string& kind = spec.at("kind").text("kind");
    const char* const kKinds[] = {"csr", "dense"};
    if (numbered("kind", kind, kKinds) == 1) {
      layer.runs = 1;
      layer.values = keep(file_.floats(prefix + "weight", {layer.out, layer.in}));
      write_out(&layer);
    } else {
      layer.runs = whole(spec, "runs", 1, kMaxRuns);
      const std::int64_t nnz = file_.length(prefix + "values");
      layer.values = keep(file_.floats(prefix + "values", {nnz}));
      layer.indices = keep(file_.integers(prefix + "indices", {nnz}, true));
      const std::int64_t chains = static_cast<std::int64_t>(layer.out) * layer.runs;
      layer.indptr = keep(file_.integers(prefix + "indptr", {chains + 1}, false));
      if (layer.indptr[0] != 0 || layer.nnz() != nnz) {
        refuse("indptr: expected to rise from 0 to nnz");
      }
    }
    check_layer(layer);
  }

  // A dense layer has every column of every row.
  void write_out(LayerView* layer) {
    std::vector<std::int32_t> starts(static_cast<std::size_t>(layer->out) + 1);
    std::vector<std::int32_t> columns(static_cast<std::size_t>(layer->out) *
                                      static_cast<std::size_t>(layer->in));
    for (std::size_t r = 0; r < starts.size(); ++r) {
      starts[r] = static_cast<std::int32_t>(r) * layer->in;
    }
    for (std::size_t k = 0; k < columns.size(); ++k) {
      columns[k] = static_cast<std::int32_t>(k % static_cast<std::size_t>(layer->in));
    }
    layer->indptr = keep(std::move(starts));
    layer->indices = keep(std::move(columns));
  }

  void check_inputs(const Op& op) const {
    std::int64_t in = 0;
    for (const Span& span : op.reads) in += span.size;
    if (in != op.layer.in || op.write.size != op.layer.out) {
      refuse("linear: expected " + std::to_string(op.layer.in) + " inputs and " +
             std::to_string(op.layer.out) + " outputs, got " + std::to_string(in) +
             " and " + std::to_string(op.write.size));
    }
  }

  // ---- the other ops

  void read_conv2d(const std::string& prefix, const Json& spec, Op* op) {
    read_layer(prefix, spec, op);
    const auto window = std::make_shared<const Window>(read_window(spec));
    program_.memory.push_back(window);
    LayerView& layer = op->layer;
    layer.window = window.get();
    if (layer.runs != 1) refuse("runs: expected 1");
    std::int64_t in = 0;
    for (const Span& span : op->reads) in += span.size;
    if (layer.in != window->taps() || in != window->in() ||
        op->write.size != std::int64_t{layer.out} * window->pixels()) {
      refuse(
          "conv2d: expected a column for each tap, the features of the image and "
          "those of its outputs");
    }
  }

  void read_pool(const Json& spec, Op* op) {
    read_sizes(1, op);
    Window& window = op->view.window;
    window = read_window(spec);
    if (op->view.in != window.in() ||
        op->view.out != std::int64_t{window.channels} * window.pixels()) {
      refuse("pool: expected the features of the image and those of its outputs");
    }
  }

  void read_activation(const Json& spec, Activation* activation, float* alpha) {
    std::vector<std::string> names;
    for (const ActivationInfo& info : kActivations) names.push_back(info.name);
    *activation = static_cast<Activation>(
        numbered("activation", spec.at("activation").text("activation"), names));
    *alpha = single("alpha", spec.at("alpha").number("alpha"));
    check_activation(*activation, *alpha);
  }

  // Reads `count` spans of one size.
  void read_sizes(std::size_t count, Op* op) {
    if (op->reads.size() != count) {
      refuse("reads: expected " + std::to_string(count) + " spans");
    }
    op->view.in = op->reads[0].size;
    op->view.out = op->write.size;
    for (const Span& span : op->reads) {
      if (span.size != op->view.in) refuse("reads: expected spans of one size");
    }
  }

  const float* finite(const std::string& name, std::int64_t size) {
    return finite_floats(file_, name, {size}, &program_.memory);
  }

  bool expects_weight(const std::string& prefix, bool wanted) const {
    if (file_.has(prefix + "weight") != wanted) {
      refuse(wanted ? "weight: expected one for this rule"
                    : "weight: expected none for this rule");
    }
    return wanted;
  }

  static void expect_same_size(const Op& op) {
    if (op.view.out != op.view.in) refuse("expected as many outputs as inputs");
  }

  void read_map(const std::string& prefix, const Json& spec, Op* op) {
    read_sizes(1, op);
    expect_same_size(*op);
    OpView& view = op->view;
    read_activation(spec, &view.activation, &view.alpha);
    if (file_.has(prefix + "scale") || file_.has(prefix + "shift")) {
      view.scale = finite(prefix + "scale", view.in);
      view.shift = finite(prefix + "shift", view.in);
    }
    view.has_low = !spec.at("low").is_null();
    view.has_high = !spec.at("high").is_null();
    if (view.has_low) view.low = single("low", spec.at("low").number("low"));
    if (view.has_high) view.high = single("high", spec.at("high").number("high"));
    if (view.has_low && view.has_high && !(view.low <= view.high)) {
      refuse("low, high: expected low <= high");
    }
  }

  void read_norm(const Json& spec, Op* op) {
    read_sizes(1, op);
    expect_same_size(*op);
    const char* const kRules[] = {"layer", "rms", "l2"};
    op->view.norm =
        static_cast<NormRule>(numbered("rule", spec.at("rule").text("rule"), kRules));
    op->view.eps = single("eps", spec.at("eps").number("eps"));
    if (!(op->view.eps > 0)) refuse("eps: expected a positive number");
  }

  void read_combine(const std::string& prefix, const Json& spec, Op* op) {
    read_sizes(2, op);
    expect_same_size(*op);
    const char* const kRules[] = {"add", "multiply", "lerp"};
    op->view.combine = static_cast<CombineRule>(
        numbered("rule", spec.at("rule").text("rule"), kRules));
    if (expects_weight(prefix, op->view.combine == CombineRule::lerp)) {
      op->view.weight = finite(prefix + "weight", op->view.in);
    }
  }

  void read_reduce(const std::string& prefix, const Json& spec, Op* op) {
    read_sizes(1, op);
    OpView& view = op->view;
    const char* const kRules[] = {"mean", "softmax", "weighted_sum"};
    view.reduce =
        static_cast<ReduceRule>(numbered("rule", spec.at("rule").text("rule"), kRules));
    view.groups = whole(spec, "groups", 1, view.in);
    view.strided = spec.at("strided").truth("strided");
    if (view.in % view.groups != 0) refuse("groups: expected them to be equal");
    const bool all = view.reduce == ReduceRule::softmax;
    if (view.out != (all ? view.in : view.groups)) refuse("expected other outputs");
    if (expects_weight(prefix, view.reduce == ReduceRule::weighted_sum)) {
      view.weight = finite(prefix + "weight", view.in / view.groups);
    }
  }

  // What is a layer's goes when it is packed.
  template <typename T>
  const T* keep(std::vector<T> numbers) {
    return sparseagent::keep(std::move(numbers), &program_.layer_memory);
  }

  TensorFile file_;
  std::map<std::string, std::int32_t> numbers_;  // of the slots, by their names
  Program program_;
};

}  // namespace

Program read_policy(const void* data, std::size_t size) {
  return Reader(std::string_view(static_cast<const char*>(data), size)).read();
}

}  // namespace sparseagent
