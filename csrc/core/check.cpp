#include "core/check.h"

#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

namespace sparseagent {
namespace {

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument(what); }

}  // namespace

// Without an early end, so that the compiler can look at several numbers at a time.
bool all_finite(const float* values, std::int64_t count) {
  bool finite = true;
  for (std::int64_t i = 0; i < count; ++i) finite &= std::fabs(values[i]) < INFINITY;
  return finite;
}

void check_activation(Activation activation, float alpha) {
  if (!std::isfinite(alpha)) refuse("alpha: expected a finite number");
  if (activation == Activation::celu && !(alpha > 0)) {
    refuse("alpha: expected a positive number for celu");
  }
}

void check_layer(const LayerView& layer) {
  if (layer.out < 1 || layer.in < 1 || layer.out > kMaxWidth || layer.in > kMaxWidth) {
    refuse("expected widths in [1, 2^20]");
  }
  if (layer.runs < 1 || layer.runs > kMaxRuns) refuse("expected 1 to 64 runs per row");
  check_activation(layer.activation, layer.alpha);
  const std::int64_t chains = static_cast<std::int64_t>(layer.out) * layer.runs;
  if (layer.indptr[0] != 0) refuse("expected indptr to start at 0");
  for (std::int64_t i = 0; i < chains; ++i) {
    if (layer.indptr[i + 1] < layer.indptr[i]) refuse("expected indptr never to fall");
  }
  const std::int64_t nnz = layer.indptr[chains];
  // In which row a column was met last.
  std::vector<std::int32_t> met(static_cast<std::size_t>(layer.in), -1);
  for (std::int32_t row = 0; row < layer.out; ++row) {
    const std::int32_t* ends =
        layer.indptr + static_cast<std::int64_t>(row) * layer.runs;
    for (std::int32_t k = ends[0]; k < ends[layer.runs]; ++k) {
      const std::int32_t column = layer.indices[k];
      if (column < 0 || column >= layer.in) {
        refuse("expected indices in [0, " + std::to_string(layer.in) + "), got " +
               std::to_string(column));
      }
      std::int32_t& last = met[static_cast<std::size_t>(column)];
      if (last == row) {
        refuse("indices: expected unique columns within a row, got a repeated one");
      }
      last = row;
    }
  }
  if (!all_finite(layer.values, nnz) || !all_finite(layer.bias, layer.out)) {
    refuse("expected finite weights and biases");
  }
}

void check_window(const Window& window) {
  const std::int32_t sizes[] = {
      window.channels,  window.height,      window.width,
      window.kernel[0], window.kernel[1],   window.stride[0],
      window.stride[1], window.dilation[0], window.dilation[1]};
  for (const std::int32_t size : sizes) {
    if (size < 1 || size > kMaxWidth) refuse("window: expected sizes in [1, 2^20]");
  }
  const std::int64_t extent[] = {window.height, window.width};
  std::int64_t padded = window.channels;
  for (int i = 0; i < 2; ++i) {
    const std::int64_t span =
        std::int64_t{window.dilation[i]} * (window.kernel[i] - 1) + 1;
    for (const std::int64_t pad : {window.padding[i], window.padding[i + 2]}) {
      if (pad < 0 || pad >= span) {
        refuse("padding: expected 0 to less than the span of the kernel");
      }
    }
    const std::int64_t all = extent[i] + window.padding[i] + window.padding[i + 2];
    if (span > all) refuse("kernel: expected one that fits into the padded image");
    if (all > kMaxWidth || padded * all > kMaxWidth) {
      refuse("image: too large with its padding");
    }
    padded *= all;
  }
  const std::int64_t taps =
      std::int64_t{window.kernel[0]} * window.kernel[1] * window.channels;
  if (window.kernel[0] > kMaxWidth / window.kernel[1] || taps > kMaxWidth) {
    refuse("kernel: expected at most 2^20 taps");
  }
}

// How often the windows multiply or compare for one observation.
std::int64_t work_of(const Op& op) {
  if (op.kind == OpKind::pool) {
    return std::int64_t{op.view.window.taps()} * op.view.window.pixels();
  }
  if (op.layer.window == nullptr) return 0;
  return std::int64_t{op.layer.nnz()} * op.layer.window->pixels();
}

void check_size(const Program& program) {
  std::int64_t features = 0;
  for (const std::int32_t size : program.slots) features += size;
  if (features > kMostFeatures || program.slots.size() > kMostSlots) {
    refuse("slots: expected at most " + std::to_string(kMostSlots) + " of " +
           std::to_string(kMostFeatures) + " features in all");
  }
  std::int64_t reads = 0;
  std::int64_t work = 0;
  for (const Op& op : program.ops) {
    work += work_of(op);
    for (const Span& span : op.reads) reads += span.size;
  }
  if (work > kMostWork) {
    refuse("ops: expected at most " + std::to_string(kMostWork) + " steps of windows");
  }
  if (reads > kMostReads) {
    refuse("ops: expected them to read at most " + std::to_string(kMostReads) +
           " features in all");
  }
}

void check_flow(const Program& program) {
  check_size(program);
  std::vector<std::vector<bool>> written;
  for (const std::int32_t size : program.slots) {
    written.emplace_back(static_cast<std::size_t>(size), false);
  }
  const auto is_written = [&](const Span& span, bool wanted) {
    const std::vector<bool>& slot = written[static_cast<std::size_t>(span.slot)];
    for (std::int32_t i = span.start; i < span.start + span.size; ++i) {
      if (slot[static_cast<std::size_t>(i)] != wanted) return false;
    }
    return true;
  };
  for (std::size_t n = 0; n < program.ops.size(); ++n) {
    const Op& op = program.ops[n];
    const std::string where = "ops[" + std::to_string(n) + "]: ";
    for (const Span& span : op.reads) {
      if (!is_written(span, true)) refuse(where + "reads what nobody has written");
    }
    if (!is_written(op.write, false)) refuse(where + "writes what is written already");
    std::vector<bool>& slot = written[static_cast<std::size_t>(op.write.slot)];
    for (std::int32_t i = op.write.start; i < op.write.start + op.write.size; ++i) {
      slot[static_cast<std::size_t>(i)] = true;
    }
  }
  for (const auto& [name, span] : program.outputs) {
    if (!is_written(span, true)) refuse("outputs: " + name + ": nobody writes it");
  }
}

}  // namespace sparseagent
