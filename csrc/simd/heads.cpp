// Compiled once per instruction set: heads that sample. In a tile the lanes are rows,
// as in simd/heads.h; for one row they are the numbers of its action, and only the sums
// are taken number by number, in the same order.
#include "simd/heads.h"

extern "C" const sparseagent::HeadKernel SPARSEAGENT_SYMBOL;

namespace {

void tile(const Head& head, const HeadBatch& batch) {
  act_on_lanes(head, batch, kLanes);
}

constexpr unsigned kIota[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

// Words of draws 0 to count - 1, from a block on.
void words_of_row(const random_key& key, std::uint32_t row, long count, unsigned* words,
                  std::uint32_t first = 0) {
  for (long at = 0; at < count; at += 4 * kLanes) {
    const std::uint32_t block = first + static_cast<std::uint32_t>(at / 4);
    ivec four[4];
    philox(key, add_bits(splat_bits(block), load_bits(kIota)), splat_bits(row), four);
    unsigned of[4][kLanes];
    for (int j = 0; j < 4; ++j) store_bits(of[j], four[j]);
    const long left = count - at < 4 * kLanes ? count - at : 4 * kLanes;
    for (long i = 0; i < left; ++i) words[at + i] = of[i % 4][i / 4];
  }
}

constexpr unsigned kBlocks[16] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
constexpr float kOdd[16] = {0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1};
constexpr float kUpper[16] = {0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1};

// Words of kLanes draws of one row from a multiple of kLanes on, in order: every lane
// makes the block of its own draw, and takes its word of it.
inline ivec lane_words(const random_key& key, std::uint32_t row, std::int32_t first) {
  ivec of[4];
  const ivec block = splat_bits(static_cast<std::uint32_t>(first / 4));
  philox(key, add_bits(block, load_bits(kBlocks)), splat_bits(row), of);
  const mask odd = less(splat(0.5f), load(kOdd));
  const mask upper = less(splat(0.5f), load(kUpper));
  const vec low = select(odd, from_bits(of[1]), from_bits(of[0]));
  const vec high = select(odd, from_bits(of[3]), from_bits(of[2]));
  return bits_of(select(upper, high, low));
}

inline float first_lane(vec a) {
  float lanes[kLanes];
  store(lanes, a);
  return lanes[0];
}

inline float sum_of(const float* terms, long count) {
  float sum = 0.0f;
  for (long i = 0; i < count; ++i) sum = sum + terms[i];
  return sum;
}

// As `choose`, the lanes being logits; `sums` is room for n and a vector.
float choose_one(const float* l, std::int32_t n, const unsigned* word, float given,
                 float* sums, float* log_prob) {
  float most = l[0];
  for (std::int32_t i = 1; i < n; ++i) most = most < l[i] ? l[i] : most;
  for (std::int32_t i = 0; i < n; i += kLanes) {
    store(sums + i, weight_of(load(l + i), splat(most)));
  }
  float sum = 0.0f;
  for (std::int32_t i = 0; i < n; ++i) sums[i] = sum = sum + sums[i];
  std::int32_t index = static_cast<std::int32_t>(given);
  if (word != nullptr) {
    const float threshold =
        static_cast<float>(static_cast<std::int32_t>(*word >> 8)) * 0x1p-24f * sum;
    index = 0;
    for (std::int32_t i = 0; i + 1 < n; ++i) index += !(threshold < sums[i]);
  }
  *log_prob = *log_prob + ((l[index] - most) - first_lane(log(splat(sum))));
  return static_cast<float>(index);
}

void choices_of_row(const Head& head, const HeadBatch& batch) {
  auto* words = reinterpret_cast<unsigned*>(batch.scratch);
  float* sums = batch.scratch + head.actions + 4 * kLanes;
  const bool draws = batch.draw != nullptr;
  for (std::int32_t a = 0; draws && a < head.actions; a += kLanes) {
    store_bits(words + a, lane_words(action_key(*batch.draw), batch.rows[0], a));
  }
  float log_prob = 0.0f;
  const float* l = batch.y;
  for (std::int32_t a = 0; a < head.actions; ++a) {
    batch.action[a] = choose_one(l, head.sizes[a], draws ? words + a : nullptr,
                                 batch.action[a], sums, &log_prob);
    l += head.sizes[a];
  }
  *batch.log_prob = log_prob;
}

void bits_of_row(const Head& head, const HeadBatch& batch) {
  float* terms = batch.scratch;
  const bool draws = batch.draw != nullptr;
  const random_key key = draws ? action_key(*batch.draw) : random_key{};
  for (std::int32_t a = 0; a < head.size; a += kLanes) {
    const ivec word = draws ? lane_words(key, batch.rows[0], a) : splat_bits(0);
    vec term;
    store(batch.action + a, flip(load(batch.y + a), draws ? &word : nullptr,
                                 load(batch.action + a), &term));
    store(terms + a, term);
  }
  *batch.log_prob = sum_of(terms, head.size);
}

// From samples in `action` and their terms to the action and its log-probability.
void finish_row(const Head& head, const HeadBatch& batch, const float* terms,
                float* lost) {
  const float sum = sum_of(terms, head.size);
  for (std::int32_t a = 0; head.squash && a < head.size; a += kLanes) {
    vec term;
    store(batch.action + a, squashed(head, load(batch.action + a), &term));
    store(lost + a, term);
  }
  const float density = sum - static_cast<float>(head.size) * kHalfLogTau;
  *batch.log_prob = head.squash ? density - sum_of(lost, head.size) : density;
}

void gaussian_of_row(const Head& head, const HeadBatch& batch) {
  float* terms = batch.scratch;
  const bool draws = batch.draw != nullptr;
  const random_key key = draws ? action_key(*batch.draw) : random_key{};
  const float* log_std = head.log_std != nullptr ? head.log_std : batch.parameter;
  for (std::int32_t a = 0; a < head.size; a += kLanes) {
    const vec z = draws ? normal(lane_words(key, batch.rows[0], a)) : splat(0.0f);
    const vec spread = clamped_log_std(head, load(log_std + a));
    vec term;
    store(batch.action + a, about(load(batch.y + a), spread, exp(spread), z, &term));
    store(terms + a, term);
  }
  finish_row(head, batch, terms, terms + head.size + kLanes);
}

void gsde_of_row(const Head& head, const HeadBatch& batch) {
  float* terms = batch.scratch;
  float* lost = terms + head.size + kLanes;
  float* matrix = lost + head.size + kLanes;
  const long entries = static_cast<long>(head.latent) * head.size;
  const bool draws = batch.draw != nullptr;
  if (draws) {
    auto* words = reinterpret_cast<unsigned*>(matrix);
    words_of_row(matrix_key(head, *batch.draw), batch.rows[0], entries, words);
    for (long k = 0; k < entries; k += kLanes) {
      store(matrix + k, mul(load(head.std + k), normal(load_bits(words + k))));
    }
  }
  for (std::int32_t a = 0; a < head.size; a += kLanes) {
    vec noise = splat(0.0f);
    vec variance = splat(0.0f);
    for (std::int32_t f = 0; f < head.latent; ++f) {
      const long at = static_cast<long>(f) * head.size + a;
      const float latent = batch.parameter[f];
      variance = fma(splat(latent * latent), load(head.variance + at), variance);
      if (draws) noise = fma(splat(latent), load(matrix + at), noise);
    }
    store(batch.action + a, add(load(batch.y + a), noise));
    store(terms + a, density(noise, add(variance, splat(head.eps))));
  }
  finish_row(head, batch, terms, lost);
}

void one(const Head& head, const HeadBatch& batch) {
  if (kLanes == 1) return tile(head, batch);
  switch (head.kind) {
    case HeadKind::categorical:
    case HeadKind::multi_categorical: return choices_of_row(head, batch);
    case HeadKind::bernoulli: return bits_of_row(head, batch);
    case HeadKind::diag_gaussian: return gaussian_of_row(head, batch);
    case HeadKind::gsde: return gsde_of_row(head, batch);
    default: break;
  }
  // Epsilon-greedy: one index, in the first lane.
  float action[kLanes] = {batch.action[0]};
  float log_prob[kLanes];
  const std::uint32_t rows[kLanes] = {batch.rows[0]};
  HeadBatch lanes = batch;
  lanes.action = action;
  lanes.log_prob = log_prob;
  lanes.rows = rows;
  explore(head, lanes, load_bits(rows));
  batch.action[0] = action[0];
  *batch.log_prob = log_prob[0];
}

void words(const Draw& draw, std::uint32_t stream, std::uint32_t block,
           std::uint32_t row, std::int64_t count, std::uint32_t* out) {
  words_of_row({draw.seed, draw.step, stream}, row, static_cast<long>(count), out,
               block);
}

void normals(const std::uint32_t* drawn, std::int64_t count, float* z) {
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const auto left = static_cast<int>(count - i < kLanes ? count - i : kLanes);
    unsigned some[kLanes] = {};
    for (int l = 0; l < left; ++l) some[l] = drawn[i + l];
    store_first(z + i, normal(load_bits(some)), left);
  }
}

void logarithms(float* x, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const auto left = static_cast<int>(count - i < kLanes ? count - i : kLanes);
    store_first(x + i, log(load_first(x + i, left)), left);
  }
}

void squash(float* x, std::int64_t count) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(x + i, canonical(tanh(load(x + i))));
  const auto left = static_cast<int>(count - i);
  if (left > 0) store_first(x + i, canonical(tanh(load_first(x + i, left))), left);
}

}  // namespace

const sparseagent::HeadKernel SPARSEAGENT_SYMBOL = {kLanes, one,     tile,      squash,
                                                    words,  normals, logarithms};
