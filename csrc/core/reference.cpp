#include "core/reference.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/registry.h"

#define SPARSEAGENT_VEC_HEADER "simd/vec_scalar.h"
#include "simd/activation.h"

namespace sparseagent {

void reference_layer(const LayerView& layer, const float* x, float* y, float* chains) {
  for (std::int32_t r = 0; r < layer.out; ++r) {
    for (std::int32_t s = 0; s < layer.runs; ++s) {
      const std::int64_t run = static_cast<std::int64_t>(r) * layer.runs + s;
      float acc = s == 0 ? layer.bias[r] : 0.0f;
      for (std::int32_t k = layer.indptr[run]; k < layer.indptr[run + 1]; ++k) {
        acc = __builtin_fmaf(layer.values[k], x[layer.indices[k]], acc);
      }
      chains[s] = acc;
    }
    // The pairwise tree: neighbours are added, an odd one out moves up unchanged.
    for (std::int32_t left = layer.runs; left > 1; left = (left + 1) / 2) {
      for (std::int32_t i = 0; i < left / 2; ++i)
        chains[i] = chains[2 * i] + chains[2 * i + 1];
      if (left % 2 == 1) chains[left / 2] = chains[left - 1];
    }
    y[r] = activate(layer.activation, layer.alpha, chains[0]);
  }
}

void reference_window(const LayerView& layer, const float* x, float* y) {
  const Window& w = *layer.window;
  for (std::int32_t o = 0; o < layer.out; ++o) {
    for (std::int32_t place = 0; place < w.pixels(); ++place) {
      float acc = layer.bias[o];
      for (std::int32_t k = layer.indptr[o]; k < layer.indptr[o + 1]; ++k) {
        const Tap tap(w, layer.indices[k]);
        const std::int32_t row =
            place / w.out_width() * w.stride[0] + tap.y - w.padding[0];
        const std::int32_t column =
            place % w.out_width() * w.stride[1] + tap.x - w.padding[1];
        if (row < 0 || row >= w.height || column < 0 || column >= w.width) continue;
        acc =
            __builtin_fmaf(layer.values[k], x[w.place(tap.channel, row, column)], acc);
      }
      *y++ = activate(layer.activation, layer.alpha, acc);
    }
  }
}

void reference_activate(Activation activation, float alpha, float* x,
                        std::int64_t count) {
  activate(activation, alpha, x, count);
}

namespace {

// One observation on its way: the slots, with room for what kernels write behind them.
class Walk {
 public:
  explicit Walk(const Program& program) : program_(program) {
    for (const std::int32_t size : program.slots) {
      slots_.emplace_back(static_cast<std::size_t>(size) + kWidthPadding, 0.0f);
    }
  }

  void run(const std::vector<Observations>& inputs, std::int64_t row) {
    for (const Op& op : program_.ops) {
      result_.assign(static_cast<std::size_t>(op.write.size) + kWidthPadding, 0.0f);
      if (op.kind == OpKind::observe) {
        const auto input = static_cast<std::size_t>(op.input);
        program_.inputs[input].step.apply(inputs[input], row, 1, result_.data());
      } else if (is_layer(op.kind)) {
        run_layer(op);
      } else {
        run_other(op);
      }
      std::copy_n(result_.begin(), op.write.size, at(op.write));
    }
  }

  float* at(const Span& span) {
    return slots_[static_cast<std::size_t>(span.slot)].data() + span.start;
  }

 private:
  void run_layer(const Op& op) {
    std::vector<float> x;
    for (const Span& span : op.reads) x.insert(x.end(), at(span), at(span) + span.size);
    if (op.kind == OpKind::conv2d) {
      return reference_window(op.layer, x.data(), result_.data());
    }
    std::vector<float> chains(static_cast<std::size_t>(op.layer.runs));
    reference_layer(op.layer, x.data(), result_.data(), chains.data());
  }

  void run_other(const Op& op) {
    const float* reads[2] = {};
    for (std::size_t i = 0; i < op.reads.size(); ++i) reads[i] = at(op.reads[i]);
    op_kernel(kIsas[0], op.kind).one(op.view, reads, result_.data());
  }

  const Program& program_;
  std::vector<std::vector<float>> slots_;
  std::vector<float> result_;
};

}  // namespace

void reference_forward(const Program& program, const std::vector<Observations>& inputs,
                       std::int64_t batch, std::size_t number, float* output) {
  Walk walk(program);
  const Span& span = program.outputs[number].second;
  for (std::int64_t row = 0; row < batch; ++row) {
    walk.run(inputs, row);
    const float* y = walk.at(span);
    for (std::int32_t i = 0; i < span.size; ++i) {
      *output++ = std::isnan(y[i]) ? std::nanf("") : y[i];
    }
  }
}

}  // namespace sparseagent
