// cell: from the sums of its gates to the new state; a linear layer has made the sums.
//
//   lstm  gates i, f, g, o; c' = fma(sigmoid(f), c, sigmoid(i) tanh(g)),
//         h' = sigmoid(o) tanh(c'); reads gates and c, writes [h'; c']
//   gru   gates r, z, n_x, n_h; n = tanh(fma(sigmoid(r), n_h, n_x)),
//         h' = fma(sigmoid(z), h - n, n); reads gates and h, writes h'
#include "core/op.h"
#include "simd/activation.h"

extern "C" const sparseagent::OpKernel SPARSEAGENT_SYMBOL;

namespace {

using sparseagent::CellRule;
using sparseagent::OpView;

inline vec next_cell(const float* gates, long apart, vec c) {
  const vec in = mul(sigmoid(load(gates)), tanh(load(gates + 2 * apart)));
  return fma(sigmoid(load(gates + apart)), c, in);
}

inline vec shown(const float* gates, long apart, vec c) {
  return mul(sigmoid(load(gates + 3 * apart)), tanh(c));
}

inline vec next_gru(const float* gates, long apart, vec h) {
  const vec r = sigmoid(load(gates));
  const vec n = tanh(fma(r, load(gates + 3 * apart), load(gates + 2 * apart)));
  return fma(sigmoid(load(gates + apart)), sub(h, n), n);
}

// `width` floats for each unit.
void units(const OpView& op, const float* const* x, float* y, long width) {
  const long all = op.in * width;
  if (op.cell == CellRule::gru) {
    for (long i = 0; i < all; i += kLanes) {
      store(y + i, next_gru(x[0] + i, all, load(x[1] + i)));
    }
    return;
  }
  for (long i = 0; i < all; i += kLanes) {
    const vec c = next_cell(x[0] + i, all, load(x[1] + i));
    store(y + all + i, c);
    const vec h = shown(x[0] + i, all, c);
    // Behind h lies c.
    all - i < kLanes ? store_first(y + i, h, static_cast<int>(all - i))
                     : store(y + i, h);
  }
}

void one(const OpView& op, const float* const* x, float* y) { units(op, x, y, 1); }

void tile(const OpView& op, const float* const* x, float* y, int vectors) {
  units(op, x, y, static_cast<long>(vectors) * kLanes);
}

}  // namespace

const sparseagent::OpKernel SPARSEAGENT_SYMBOL = {"cell", one, tile};
