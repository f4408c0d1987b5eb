// Activations as fixed sequences of IEEE operations: the same bits on every instruction
// set.
//
// Built on one polynomial, expm1(x) = 2^n (r + r^2 P(r)) + 2^n - 1 with x = n ln 2 + r;
// for gelu, -ln(erfc(z)) = z R(z); for softplus, 2 atanh(s) = 2 s + s^3 L(s^2).
// fit_polynomials.py prints the coefficients. No libm, no tables. NaN stays NaN. Error
// bounds are stated and tested in tests/runtime/test_activations.py.
#pragma once

#include "core/layer.h"
#include "simd/vec.h"

namespace {

using sparseagent::Activation;

// Exact for what follows: x in [-87, 88], so 2^n never leaves the normal range.
struct exponential {
  vec scale;  // 2^n
  vec tail;   // expm1(r)
};

SPARSEAGENT_FUNCTION exponential reduce(vec x) {
  const vec magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const vec z = fma(x, splat(1.44269504f), magic);
  const vec n = sub(z, magic);
  vec r = fma(n, splat(-0x1.62e400p-1f), x);  // ln 2 in two parts
  r = fma(n, splat(-0x1.7f7d1cp-20f), r);
  vec p = splat(0x1.6beb2ep-10f);
  p = fma(p, r, splat(0x1.122d00p-7f));
  p = fma(p, r, splat(0x1.555680p-5f));
  p = fma(p, r, splat(0x1.5554aap-3f));
  p = fma(p, r, splat(0x1.fffffep-2f));
  return {power_of_two(z), fma(mul(r, r), p, r)};
}

SPARSEAGENT_FUNCTION vec expm1(vec x) {
  const exponential e = reduce(x);
  return fma(e.scale, e.tail, sub(e.scale, splat(1.0f)));
}

SPARSEAGENT_FUNCTION vec exp(vec x) {
  const exponential e = reduce(x);
  return fma(e.scale, e.tail, e.scale);
}

SPARSEAGENT_FUNCTION vec tanh(vec x) {
  // t / (t + 2) with t = expm1(2|x|) keeps its relative accuracy down to 0; 1 from |x|
  // = 10 on.
  const vec t = expm1(at_most(splat(20.0f), mul(splat(2.0f), magnitude(x))));
  return copy_sign(div(t, add(t, splat(2.0f))), x);
}

SPARSEAGENT_FUNCTION vec sigmoid(vec x) {
  const vec e = exp(at_least(splat(-87.0f), sub(splat(0.0f), magnitude(x))));
  const mask below = less(x, splat(0.0f));
  return div(select(below, e, splat(1.0f)), add(splat(1.0f), e));
}

SPARSEAGENT_FUNCTION vec silu(vec x) {
  // sigmoid stops falling at -87, x does not: within 2e-36 of 0 from there on.
  return select(less(x, splat(-87.0f)), splat(0.0f), mul(x, sigmoid(x)));
}

SPARSEAGENT_FUNCTION vec elu(vec x, float alpha) {
  const mask below = less(x, splat(0.0f));
  const vec inner = at_least(splat(-87.0f), select(below, x, splat(0.0f)));
  return select(below, mul(splat(alpha), expm1(inner)), x);
}

SPARSEAGENT_FUNCTION vec gelu(vec x) {
  // x Phi(x), Phi(x) = erfc(z) / 2 below 0 and 1 - erfc(z) / 2 above, z = |x| /
  // sqrt(2).
  const vec z = mul(magnitude(x), splat(0x1.6a09e6p-1f));
  const vec near = at_most(splat(4.0f), z);
  vec p = splat(-0x1.3691bap-17f);
  p = fma(p, near, splat(0x1.ed6686p-14f));
  p = fma(p, near, splat(-0x1.4bc730p-11f));
  p = fma(p, near, splat(0x1.b4fdaap-10f));
  p = fma(p, near, splat(-0x1.504932p-13f));
  p = fma(p, near, splat(-0x1.39cde0p-6f));
  p = fma(p, near, splat(0x1.a4fa60p-4f));
  p = fma(p, near, splat(0x1.45f2fap-1f));
  p = fma(p, near, splat(0x1.20dd76p+0f));
  const vec half = mul(splat(0.5f), exp(mul(sub(splat(0.0f), near), p)));
  const mask below = less(x, splat(0.0f));
  const vec inside = mul(x, select(below, half, sub(splat(1.0f), half)));
  const vec outside = select(below, splat(0.0f), x);  // within 5e-8 from |x| = 5.66 on
  return select(less(splat(4.0f), z), outside, inside);
}

SPARSEAGENT_FUNCTION vec gelu_tanh(vec x) {
  // 0.5 x (1 + tanh(u)) = x sigmoid(2u), u = sqrt(2 / pi) (x + 0.044715 x^3).
  const vec cubic = fma(mul(x, x), splat(0.044715f), splat(1.0f));
  const vec inside = mul(x, sigmoid(mul(mul(x, splat(1.5957691f)), cubic)));
  return select(less(x, splat(-10.0f)), splat(0.0f), inside);  // within 1e-36 there
}

SPARSEAGENT_FUNCTION vec selu(vec x) {
  return mul(splat(1.05070099f), elu(x, 1.67326324f));
}

SPARSEAGENT_FUNCTION vec celu(vec x, float alpha) {
  const mask below = less(x, splat(0.0f));
  const vec ratio = div(select(below, x, splat(0.0f)), splat(alpha));
  return select(below, mul(splat(alpha), expm1(at_least(splat(-87.0f), ratio))), x);
}

SPARSEAGENT_FUNCTION vec softplus(vec x) {
  // max(x, 0) + log1p(t), t = exp(-|x|); log1p(t) = 2 atanh(s), s = t / (t + 2). It
  // stops falling at -87: within 2e-38 of 0 from there on.
  const vec t = exp(at_least(splat(-87.0f), sub(splat(0.0f), magnitude(x))));
  const vec s = div(t, add(t, splat(2.0f)));
  const vec u = mul(s, s);
  vec p = splat(0x1.f17338p-3f);
  p = fma(p, u, splat(0x1.b6e6cep-3f));
  p = fma(p, u, splat(0x1.2508b0p-2f));
  p = fma(p, u, splat(0x1.9996b0p-2f));
  p = fma(p, u, splat(0x1.555558p-1f));
  return add(positive_part(x), fma(mul(s, u), p, add(s, s)));
}

SPARSEAGENT_FUNCTION vec softsign(vec x) {
  return div(x, add(splat(1.0f), magnitude(x)));
}

SPARSEAGENT_FUNCTION vec mish(vec x) {
  // x tanh(softplus(x)) = x n / (n + 2) with n = e (e + 2), e = exp(x); x itself from
  // 20 on. Like silu it is 0 below -87.
  const vec e = exp(at_least(splat(-87.0f), at_most(splat(20.0f), x)));
  const vec n = fma(e, e, add(e, e));
  const vec y = mul(x, div(n, add(n, splat(2.0f))));
  return select(less(x, splat(-87.0f)), splat(0.0f), y);
}

// use(f) with the function of `activation`, a vector of sums to one of outputs. It is
// looked up once, not for every vector. Adding +0 first turns a sum of -0, which
// depends on how zeros were skipped, into +0. Inlined by force: with this many cases
// compilers would call it.
template <typename Use>
__attribute__((always_inline)) SPARSEAGENT_FUNCTION void with_activation(
    Activation activation, float alpha, Use use) {
  const auto behind = [&](auto f) {
    use([&](vec sum) { return f(add(sum, splat(0.0f))); });
  };
  switch (activation) {
    case Activation::relu: return behind([](vec x) { return positive_part(x); });
    case Activation::tanh: return behind([](vec x) { return tanh(x); });
    case Activation::sigmoid: return behind([](vec x) { return sigmoid(x); });
    case Activation::elu: return behind([&](vec x) { return elu(x, alpha); });
    case Activation::leaky_relu:
      return behind(
          [&](vec x) { return select(less(x, splat(0.0f)), mul(x, splat(alpha)), x); });
    case Activation::silu: return behind([](vec x) { return silu(x); });
    case Activation::gelu: return behind([](vec x) { return gelu(x); });
    case Activation::gelu_tanh: return behind([](vec x) { return gelu_tanh(x); });
    case Activation::selu: return behind([](vec x) { return selu(x); });
    case Activation::celu: return behind([&](vec x) { return celu(x, alpha); });
    case Activation::softplus: return behind([](vec x) { return softplus(x); });
    case Activation::softsign: return behind([](vec x) { return softsign(x); });
    case Activation::mish: return behind([](vec x) { return mish(x); });
    case Activation::identity: return behind([](vec x) { return x; });
  }
}

// One vector of sums to one vector of outputs.
SPARSEAGENT_FUNCTION vec activate(Activation activation, float alpha, vec sum) {
  vec y = sum;
  with_activation(activation, alpha, [&](auto f) { y = f(sum); });
  return y;
}

// In place over `count` sums, a multiple of kLanes.
SPARSEAGENT_FUNCTION void activate(Activation activation, float alpha, float* y,
                                   long count) {
  with_activation(activation, alpha, [&](auto f) {
    for (long i = 0; i < count; i += kLanes) store(y + i, f(load(y + i)));
  });
}

// relu and identity cost one or two instructions and are applied while the sum is in a
// register; the others run over the stored sums of the whole layer.
SPARSEAGENT_FUNCTION bool in_register(Activation activation) {
  return activation == Activation::relu || activation == Activation::identity;
}

// What a kernel stores for one vector of sums.
SPARSEAGENT_FUNCTION vec finish(bool relu, vec sum) {
  const vec x = add(sum, splat(0.0f));
  return relu ? positive_part(x) : x;
}

}  // namespace
