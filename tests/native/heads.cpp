#include "heads.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

#include "core/act.h"
#include "core/cpu.h"
#include "core/float_mode.h"
#include "core/registry.h"

using namespace sparseagent;

namespace {

constexpr int kMost = 40;

// Random numbers that are the same everywhere.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 2 + 1) {}
  std::uint32_t bits() {
    state_ = state_ * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<std::uint32_t>(state_ >> 33);
  }
  int below(int n) { return static_cast<int>(bits() % static_cast<std::uint32_t>(n)); }
  float uniform() { return static_cast<float>(bits() & 0xffffff) * 0x1p-23f - 1.0f; }

  // Mostly ordinary numbers of some size; some zeros, huge ones, Inf and NaN.
  float number(bool wild, float size) {
    switch (wild ? below(60) : 59) {
      case 0: return 0.0f;
      case 1: return -0.0f;
      case 2: return 0x1p-140f * uniform();
      case 3: return 0x1p100f * uniform();
      case 4: return below(4) == 0 ? INFINITY : -INFINITY;
      case 5: return below(4) == 0 ? NAN : -1.0f;
      default: return size * uniform();
    }
  }

  std::vector<float> numbers(std::size_t count, bool wild, float size) {
    std::vector<float> all(count + kWidthPadding);
    for (std::size_t i = 0; i < count; ++i) all[i] = number(wild, size);
    return all;
  }

 private:
  std::uint64_t state_;
};

// A head with everything that it points to, and the outputs of kMost rows.
struct Case {
  Head head;
  std::int32_t parameter = 0;
  std::vector<float> low, high, log_std, std, variance, y, given;
  std::vector<std::int32_t> sizes, starts;
  std::vector<std::uint32_t> rows;
  std::vector<std::uint8_t> masks;
  Draw draw;
  bool draws;

  Case(Random& random, HeadKind kind, bool wild) {
    head.kind = kind;
    head.size = 1 + random.below(random.below(3) == 0 ? 70 : 9);
    head.actions = head.size;
    const auto size = static_cast<std::size_t>(head.size);
    draws = head.samples() && random.below(4) != 0;
    draw = {random.bits() * 0x100000001ull, random.bits() * 0x10001ull};
    for (int i = 0; i < kMost; ++i) rows.push_back(random.bits());
    y = random.numbers(size * kMost, wild, 5.0f);
    if (kind == HeadKind::argmax || head.takes_masks() ||
        kind == HeadKind::epsilon_greedy) {
      choose(random);
    } else if (kind != HeadKind::bernoulli) {
      bound(random);
    }
    if (head.takes_masks() && random.below(2) == 0) {
      for (std::size_t i = 0; i < size * kMost; ++i)
        masks.push_back(random.below(2) == 0);
    }
    if (kind == HeadKind::diag_gaussian) deviate(random, wild);
    if (kind == HeadKind::gsde) explore(random, wild);
  }

 private:
  void choose(Random& random) {
    for (int left = head.size; left > 0; left -= sizes.back()) {
      const bool all = head.kind != HeadKind::multi_categorical;
      sizes.push_back(all ? left : 1 + random.below(left));
      starts.push_back(random.below(7) - 3);
    }
    head.actions = static_cast<std::int32_t>(sizes.size());
    head.sizes = sizes.data();
    head.starts = starts.data();
    head.epsilon = 0.25f;
  }

  void bound(Random& random) {
    const HeadKind kinds[] = {HeadKind::raw, HeadKind::clip, HeadKind::unscale};
    head.bounds = head.samples() ? kinds[random.below(3)] : head.kind;
    head.squash = head.samples() && random.below(2) == 0;
    head.eps = 1e-6f;
    for (int i = 0; i < head.size; ++i) {
      low.push_back(random.uniform() - 1.0f);
      high.push_back(random.uniform() + 1.0f);
    }
    head.low = low.data();
    head.high = high.data();
  }

  void deviate(Random& random, bool wild) {
    const auto size = static_cast<std::size_t>(head.size);
    if (random.below(2) == 0) {
      log_std = random.numbers(size, false, 2.0f);
      head.log_std = log_std.data();
    } else {
      parameter = head.size;
      given = random.numbers(size * kMost, wild, 4.0f);
    }
    if (random.below(2) == 0) {
      head.log_std_low = -2.0f;
      head.log_std_high = 0.5f;
    }
  }

  void explore(Random& random, bool wild) {
    head.latent = 1 + random.below(40);
    head.resample = random.below(3);
    parameter = head.latent;
    const auto latent = static_cast<std::size_t>(head.latent);
    const std::size_t entries = latent * static_cast<std::size_t>(head.size);
    given = random.numbers(latent * kMost, wild, 1.0f);
    std = random.numbers(entries, false, 1.0f);
    for (float& deviation : std) deviation = std::fabs(deviation);
    variance = std;
    for (float& v : variance) v *= v;
    head.std = std.data();
    head.variance = variance.data();
  }
};

// What a call gives: bytes of actions, samples and log-probabilities.
struct Result {
  std::vector<std::int64_t> whole;
  std::vector<float> actions, samples, log_probs;

  bool operator==(const Result& other) const {
    return whole == other.whole && same(actions, other.actions) &&
           same(samples, other.samples) && same(log_probs, other.log_probs);
  }

  static bool same(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() &&
           (a.empty() || std::memcmp(a.data(), b.data(), 4 * a.size()) == 0);
  }
};

// Rows [first, first + count), `together` at a time.
Result run(const Case& net, const Isa& isa, int first, int count, int together) {
  const Head& head = net.head;
  const auto numbers = static_cast<std::size_t>(count * head.actions);
  Result result;
  if (head.discrete()) {
    result.whole.resize(numbers);
  } else {
    result.actions.resize(numbers);
    result.samples.resize(numbers);
  }
  if (head.samples()) result.log_probs.resize(static_cast<std::size_t>(count));
  std::vector<float> workspace(
      static_cast<std::size_t>(head_workspace(head, net.parameter)));
  const PlainFloats plain;
  for (int done = 0; done < count; done += together) {
    const int some = std::min(together, count - done);
    const int row = first + done;
    std::vector<float> y(net.y.begin() + row * head.size,
                         net.y.begin() + (row + some) * head.size);
    Acting call;
    if (net.draws) call.draw = &net.draw;
    call.rows = net.rows.data() + row;
    if (!net.masks.empty()) call.masks = net.masks.data() + row * head.size;
    call.actions = head.discrete()
                       ? static_cast<void*>(result.whole.data() + done * head.actions)
                       : result.actions.data() + done * head.actions;
    if (!head.discrete()) call.samples = result.samples.data() + done * head.actions;
    if (head.samples()) call.log_probs = result.log_probs.data() + done;
    act_on(isa, head, net.parameter, call,
           {0, some, y.data(), net.given.data() + row * net.parameter},
           workspace.data());
  }
  return result;
}

std::uint64_t digest_of(std::uint64_t hash, const Result& result) {
  const auto add = [&](std::uint32_t bits) { hash = (hash ^ bits) * 1099511628211ull; };
  for (const std::int64_t value : result.whole) add(static_cast<std::uint32_t>(value));
  for (const auto* values : {&result.actions, &result.samples, &result.log_probs}) {
    for (const float value : *values) {
      std::uint32_t bits;
      std::memcpy(&bits, &value, sizeof bits);
      add(bits);
    }
  }
  return hash;
}

}  // namespace

HeadResults check_heads(int cases, std::uint64_t digest) {
  HeadResults results = {digest, 0, 0};
  for (int number = 0; number < cases; ++number) {
    for (std::size_t kind = 0; kind < std::size(kHeadKinds); ++kind) {
      Random random(static_cast<std::uint64_t>(number) * 100 + kind);
      const Case net(random, static_cast<HeadKind>(kind), number % 2 == 1);
      const Result expected = run(net, kIsas[0], 0, kMost, kMost);
      results.digest = digest_of(results.digest, expected);
      for (int i = 0; i < kIsaCount; ++i) {
        if (!cpu_has(kIsas[i].needs)) continue;
        for (const int together : {1, 2, 3, 4, 5, 8, 15, 16, 17, 33, kMost}) {
          if (run(net, kIsas[i], 0, kMost, together) == expected) {
            results.passed += 1;
            continue;
          }
          results.failed += 1;
          std::printf("FAILED: head %s, isa %s, %d rows together\n", kHeadKinds[kind],
                      kIsas[i].name, together);
        }
      }
    }
  }
  return results;
}
