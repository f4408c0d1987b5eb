#include "core/check.h"

#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

namespace sparseagent {
namespace {

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument(what); }

bool all_finite(const std::vector<double>& values, bool single) {
  bool finite = true;
  for (const double value : values) {
    finite &= single ? std::isfinite(static_cast<float>(value)) : std::isfinite(value);
  }
  return finite;
}

}  // namespace

// Without an early end, so that the compiler can look at several numbers at a time.
bool all_finite(const float* values, std::int64_t count) {
  bool finite = true;
  for (std::int64_t i = 0; i < count; ++i) finite &= std::fabs(values[i]) < INFINITY;
  return finite;
}

void check_layer(const LayerView& layer) {
  if (layer.out < 1 || layer.in < 1 || layer.out > kMaxWidth || layer.in > kMaxWidth) {
    refuse("expected widths in [1, 2^20]");
  }
  if (layer.runs < 1 || layer.runs > kMaxRuns) refuse("expected 1 to 64 runs per row");
  if (!std::isfinite(layer.alpha)) refuse("alpha: expected a finite number");
  const std::int64_t chains = static_cast<std::int64_t>(layer.out) * layer.runs;
  if (layer.indptr[0] != 0) refuse("expected indptr to start at 0");
  for (std::int64_t i = 0; i < chains; ++i) {
    if (layer.indptr[i + 1] < layer.indptr[i]) refuse("expected indptr never to fall");
  }
  const std::int64_t nnz = layer.indptr[chains];
  // In which row a column was met last.
  std::vector<std::int32_t> met(static_cast<std::size_t>(layer.in), -1);
  for (std::int32_t row = 0; row < layer.out; ++row) {
    const std::int32_t* ends = layer.indptr + static_cast<std::int64_t>(row) * layer.runs;
    for (std::int32_t k = ends[0]; k < ends[layer.runs]; ++k) {
      const std::int32_t column = layer.indices[k];
      if (column < 0 || column >= layer.in) {
        refuse("expected indices in [0, " + std::to_string(layer.in) + "), got " +
               std::to_string(column));
      }
      std::int32_t& last = met[static_cast<std::size_t>(column)];
      if (last == row) refuse("expected unique columns within a row");
      last = row;
    }
  }
  if (!all_finite(layer.values, nnz) || !all_finite(layer.bias, layer.out)) {
    refuse("expected finite weights and biases");
  }
}

void check_step(const ObservationStep& step) {
  const auto size = static_cast<std::size_t>(step.size);
  const bool fits = (step.shift.empty() || step.shift.size() == size) &&
                    (step.scale.size() <= 1 || step.scale.size() == size);
  if (step.size < 1 || step.size > kMaxWidth || !fits) {
    refuse("observation: expected one number per input");
  }
  if (!all_finite(step.shift, step.single) || !all_finite(step.scale, step.single)) {
    refuse("observation: expected finite statistics");
  }
  for (const double scale : step.scale) {
    const bool positive = step.single ? static_cast<float>(scale) > 0 : scale > 0;
    if (!positive) refuse("observation: expected a positive scale");
  }
  if (!(step.low < step.high)) refuse("observation: expected low < high");
  if (step.categories.empty()) return;
  std::int64_t features = 0;
  for (const std::int32_t count : step.categories) features += count < 1 ? kMaxWidth : count;
  const bool plain = step.shift.empty() && step.scale.empty() && std::isinf(step.low) &&
                     std::isinf(step.high);
  if (step.categories.size() != size || features > kMaxWidth || !plain) {
    refuse("categories: expected a positive count for each number, and nothing else");
  }
}

void check_head(const Head& head, std::int32_t out) {
  if (head.kind != Head::Kind::clip && head.kind != Head::Kind::unscale) return;
  const auto size = static_cast<std::size_t>(out);
  if (head.low.size() != size || head.high.size() != size) {
    refuse("head: expected one bound per output");
  }
  for (std::size_t i = 0; i < size; ++i) {
    const bool stretches = head.kind == Head::Kind::unscale;
    const bool finite = std::isfinite(head.low[i]) && std::isfinite(head.high[i]);
    if (!(head.low[i] <= head.high[i]) || (stretches && !finite)) {
      refuse("head: expected bounds with low <= high");
    }
  }
}

void check_flow(const Program& program) {
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
