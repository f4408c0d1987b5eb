// Distributions of actions, for as many rows as there are lanes: the contract of every
// instruction set and of CUDA. Whatever is summed is summed in ascending order from 0.
//
// Arrays are feature-major, feature f of a row at f * width. Draws of one row are
// numbered: one for each choice, bit or number of an action; of gSDE's matrix one for
// each entry, row by row; of epsilon-greedy two, whether and what.
#pragma once

#include "core/head.h"
#include "simd/activation.h"
#include "simd/random.h"

namespace {

using sparseagent::Draw;
using sparseagent::Head;
using sparseagent::HeadBatch;
using sparseagent::HeadKind;

constexpr float kHalfLogTau = 0.91893853f;  // log(2 pi) / 2

SPARSEAGENT_FUNCTION random_key action_key(const Draw& draw) {
  return {draw.seed, draw.step, kActionStream};
}

// gSDE's matrix holds for several steps.
SPARSEAGENT_FUNCTION random_key matrix_key(const Head& head, const Draw& draw) {
  const std::uint64_t number =
      head.resample == 0 ? 0 : draw.step / static_cast<std::uint64_t>(head.resample);
  return {draw.seed, number, kMatrixStream};
}

// Draw by draw in ascending order, all lanes at once.
struct word_stream {
  random_key key;
  ivec row;
  std::uint32_t next;
  ivec words[4];
};

SPARSEAGENT_FUNCTION word_stream words_of(const random_key& key, ivec row) {
  return {key, row, 0, {}};
}

SPARSEAGENT_FUNCTION ivec next_word(word_stream* stream) {
  const std::uint32_t number = stream->next++;
  if (number % 4 == 0) {
    philox(stream->key, splat_bits(number / 4), stream->row, stream->words);
  }
  return stream->words[number % 4];
}

// A choice: weights exp(l - most), 0 below -87, so what is masked is never drawn.
SPARSEAGENT_FUNCTION vec weight_of(vec logit, vec most) {
  const vec d = sub(logit, most);
  return select(less(d, splat(-87.0f)), splat(0.0f), exp(d));
}

SPARSEAGENT_FUNCTION vec larger(vec a, vec b) { return select(less(a, b), b, a); }

// Of n logits: the index that the word draws, or the given one; adds its
// log-probability to *log_prob. `sums` is room for n vectors.
SPARSEAGENT_FUNCTION vec choose(const float* l, std::int32_t n, long width,
                                const ivec* word, vec given, float* sums,
                                vec* log_prob) {
  vec most = load(l);
  for (std::int32_t i = 1; i < n; ++i) most = larger(most, load(l + i * width));
  vec sum = splat(0.0f);
  for (std::int32_t i = 0; i < n; ++i) {
    sum = add(sum, weight_of(load(l + i * width), most));
    store(sums + static_cast<long>(i) * kLanes, sum);
  }
  vec index = given;
  vec chosen = load(l);
  if (word != nullptr) {
    // As many as have a sum up to them that is not above; the last one at most.
    const vec threshold = mul(uniform(*word), sum);
    index = splat(0.0f);
    for (std::int32_t i = 0; i + 1 < n; ++i) {
      const mask here = less(threshold, load(sums + static_cast<long>(i) * kLanes));
      index = add(index, select(here, splat(0.0f), splat(1.0f)));
      chosen = select(here, chosen, load(l + (i + 1) * width));
    }
  } else {
    for (std::int32_t i = 1; i < n; ++i) {
      const mask reached = less(splat(static_cast<float>(i) - 0.5f), given);
      chosen = select(reached, load(l + i * width), chosen);
    }
  }
  *log_prob = add(*log_prob, sub(sub(chosen, most), log(sum)));
  return index;
}

SPARSEAGENT_FUNCTION void sample_choices(const Head& head, const HeadBatch& batch,
                                         ivec row, long width) {
  word_stream stream =
      words_of(batch.draw != nullptr ? action_key(*batch.draw) : random_key{}, row);
  vec log_prob = splat(0.0f);
  const float* l = batch.y;
  for (std::int32_t a = 0; a < head.actions; ++a) {
    const std::int32_t n = head.sizes[a];
    float* action = batch.action + a * width;
    ivec word = row;
    if (batch.draw != nullptr) word = next_word(&stream);
    store(action, choose(l, n, width, batch.draw != nullptr ? &word : nullptr,
                         load(action), batch.scratch, &log_prob));
    l += n * width;
  }
  store(batch.log_prob, log_prob);
}

// With the probability epsilon any index; the mode is in `action`.
SPARSEAGENT_FUNCTION void explore(const Head& head, const HeadBatch& batch, ivec row) {
  const vec greedy = load(batch.action);
  vec index = greedy;
  if (batch.draw != nullptr) {
    word_stream stream = words_of(action_key(*batch.draw), row);
    const ivec whether = next_word(&stream);
    wide any, low;
    const auto count = static_cast<std::uint32_t>(head.size);
    multiply_wide(widen(next_word(&stream)), count, &any, &low);
    index = select(less(uniform(whether), splat(head.epsilon)), to_float(narrow(any)),
                   greedy);
  }
  const float share = head.epsilon / static_cast<float>(head.size);
  const vec rest = splat(1.0f - head.epsilon);
  const vec zero = splat(0.0f);
  const vec least = select(less(index, greedy), zero, rest);
  const vec p = add(splat(share), select(less(greedy, index), zero, least));
  store(batch.action, index);
  store(batch.log_prob, log(p));
}

// One bit: by its word, or the given one; and the logarithm of its probability.
SPARSEAGENT_FUNCTION vec flip(vec logit, const ivec* word, vec given, vec* term) {
  vec bit = given;
  if (word != nullptr) {
    bit = select(less(uniform(*word), sigmoid(logit)), splat(1.0f), splat(0.0f));
  }
  const vec against = select(less(bit, splat(0.5f)), logit, sub(splat(0.0f), logit));
  *term = sub(splat(0.0f), softplus(against));
  return bit;
}

SPARSEAGENT_FUNCTION vec clamped_log_std(const Head& head, vec log_std) {
  return at_most(splat(head.log_std_high), at_least(splat(head.log_std_low), log_std));
}

// mean + std z; and the logarithm of its density, but for the constant.
SPARSEAGENT_FUNCTION vec about(vec mean, vec log_std, vec std, vec z, vec* term) {
  *term = fma(mul(splat(-0.5f), z), z, sub(splat(0.0f), log_std));
  return fma(std, z, mean);
}

// gSDE: the term of `noise` under a normal distribution of that variance.
SPARSEAGENT_FUNCTION vec density(vec noise, vec variance) {
  return mul(splat(-0.5f), add(div(mul(noise, noise), variance), log(variance)));
}

// tanh; and what the squashed density loses.
SPARSEAGENT_FUNCTION vec squashed(const Head& head, vec sample, vec* term) {
  const vec y = tanh(sample);
  const vec rest = fma(sub(splat(0.0f), y), y, splat(1.0f));
  *term = log(add(rest, splat(head.eps)));
  return y;
}

// The two sums of a continuous head.
SPARSEAGENT_FUNCTION vec joined_log_prob(const Head& head, vec sum, vec lost) {
  const vec constant = splat(static_cast<float>(head.size) * kHalfLogTau);
  const vec density = sub(sum, constant);
  return head.squash ? sub(density, lost) : density;
}

SPARSEAGENT_FUNCTION void flip_bits(const Head& head, const HeadBatch& batch, ivec row,
                                    long width) {
  word_stream stream =
      words_of(batch.draw != nullptr ? action_key(*batch.draw) : random_key{}, row);
  vec sum = splat(0.0f);
  for (std::int32_t a = 0; a < head.actions; ++a) {
    float* action = batch.action + a * width;
    ivec word = row;
    if (batch.draw != nullptr) word = next_word(&stream);
    vec term;
    store(action, flip(load(batch.y + a * width),
                       batch.draw != nullptr ? &word : nullptr, load(action), &term));
    sum = add(sum, term);
  }
  store(batch.log_prob, sum);
}

SPARSEAGENT_FUNCTION void sample_gaussian(const Head& head, const HeadBatch& batch,
                                          ivec row, long width) {
  word_stream stream =
      words_of(batch.draw != nullptr ? action_key(*batch.draw) : random_key{}, row);
  // What is the same for all rows is computed once, by vectors of numbers.
  const std::int32_t own = head.log_std != nullptr ? head.size : 0;
  for (std::int32_t a = 0; a < own; a += kLanes) {
    store(batch.scratch + a, exp(clamped_log_std(head, load(head.log_std + a))));
  }
  vec sum = splat(0.0f);
  vec lost = splat(0.0f);
  for (std::int32_t a = 0; a < head.size; ++a) {
    const vec log_std = clamped_log_std(
        head, own > 0 ? splat(head.log_std[a]) : load(batch.parameter + a * width));
    const vec std = own > 0 ? splat(batch.scratch[a]) : exp(log_std);
    vec z = splat(0.0f);
    if (batch.draw != nullptr) z = normal(next_word(&stream));
    vec term;
    vec sample = about(load(batch.y + a * width), log_std, std, z, &term);
    sum = add(sum, term);
    if (head.squash) {
      sample = squashed(head, sample, &term);
      lost = add(lost, term);
    }
    store(batch.action + a * width, sample);
  }
  store(batch.log_prob, joined_log_prob(head, sum, lost));
}

// `scratch`: noise [size], then variances [size], a vector each.
SPARSEAGENT_FUNCTION void sample_gsde(const Head& head, const HeadBatch& batch,
                                      ivec row, long width) {
  float* noise = batch.scratch;
  float* variance = batch.scratch + static_cast<long>(head.size) * kLanes;
  for (std::int32_t a = 0; a < 2 * head.size; ++a) {
    store(noise + static_cast<long>(a) * kLanes, splat(0.0f));
  }
  word_stream stream = words_of(
      batch.draw != nullptr ? matrix_key(head, *batch.draw) : random_key{}, row);
  for (std::int32_t f = 0; f < head.latent; ++f) {
    const vec latent = load(batch.parameter + f * width);
    const vec square = mul(latent, latent);
    for (std::int32_t a = 0; a < head.size; ++a) {
      const long at = static_cast<long>(f) * head.size + a;
      const long lane = static_cast<long>(a) * kLanes;
      store(variance + lane,
            fma(square, splat(head.variance[at]), load(variance + lane)));
      if (batch.draw == nullptr) continue;
      const vec entry = mul(splat(head.std[at]), normal(next_word(&stream)));
      store(noise + lane, fma(latent, entry, load(noise + lane)));
    }
  }
  vec sum = splat(0.0f);
  vec lost = splat(0.0f);
  for (std::int32_t a = 0; a < head.size; ++a) {
    const long lane = static_cast<long>(a) * kLanes;
    const vec n = load(noise + lane);
    sum = add(sum, density(n, add(load(variance + lane), splat(head.eps))));
    vec sample = add(load(batch.y + a * width), n);
    if (head.squash) {
      vec term;
      sample = squashed(head, sample, &term);
      lost = add(lost, term);
    }
    store(batch.action + a * width, sample);
  }
  store(batch.log_prob, joined_log_prob(head, sum, lost));
}

// kLanes columns of a batch of that width.
SPARSEAGENT_FUNCTION void act_on_lanes(const Head& head, const HeadBatch& batch,
                                       long width) {
  const ivec row = load_bits(batch.rows);
  switch (head.kind) {
    case HeadKind::categorical:
    case HeadKind::multi_categorical: return sample_choices(head, batch, row, width);
    case HeadKind::epsilon_greedy: return explore(head, batch, row);
    case HeadKind::bernoulli: return flip_bits(head, batch, row, width);
    case HeadKind::diag_gaussian: return sample_gaussian(head, batch, row, width);
    case HeadKind::gsde: return sample_gsde(head, batch, row, width);
    default: return;  // those that do not sample
  }
}

}  // namespace
