#include "core/sharing.h"

#include <algorithm>

namespace sparseagent {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

// One call in so many is done alone while sharing pays, to see what it takes.
constexpr std::uint32_t kAloneEvery = 512;

// A call counts for so much in the running mean. One that takes as long as several, as
// where a thread was held up, ends the sharing by itself.
constexpr double kWeight = 0.125;
constexpr double kWorst = -8;

// Rests are so many times as long as what the last call lost, twice that for each rest
// in a row: a single interruption costs little, a neighbour that stays soon almost
// nothing.
constexpr double kRest = 4;
constexpr int kMostDoublings = 8;
constexpr double kLongestNs = 1e9;

// The pace of one thread is the best of late: interruptions only add.
constexpr double kForget = 1.1;

// What is left of the running mean after a rest: one call that was held up, or a few bad
// ones, and the next rest begins.
constexpr double kProbation = 0.02;

}  // namespace

bool Sharing::pays(std::int64_t now) {
  if (now < rest_until_.load(kRelaxed)) return false;
  const std::uint32_t call = calls_.load(kRelaxed);
  calls_.store(call + 1, kRelaxed);
  return call % kAloneEvery != 1 && call != 2;
}

void Sharing::note_alone(double ratio) {
  const double known = pace_.load(kRelaxed);
  pace_.store(known > 0 ? std::min(ratio, known * kForget) : ratio, kRelaxed);
}

void Sharing::rest(std::int64_t now, double lost) {
  const int losses = losses_.load(kRelaxed);
  const double doubled = kRest * static_cast<double>(1 << losses);
  const auto rest = static_cast<std::int64_t>(std::min(lost * doubled, kLongestNs));
  rest_.store(rest, kRelaxed);
  rest_until_.store(now + rest, kRelaxed);
  losses_.store(std::min(losses + 1, kMostDoublings), kRelaxed);
  gain_.store(kProbation, kRelaxed);
}

void Sharing::note(bool shared, std::int64_t start, std::int64_t end, double estimate) {
  const auto taken = static_cast<double>(end - start);
  if (!shared) return note_alone(taken / estimate);
  const double alone = pace_.load(kRelaxed) * estimate;
  if (alone <= 0) return;
  const double gain = std::max((alone - taken) / alone, kWorst);
  const double mean = gain_.load(kRelaxed) + kWeight * (gain - gain_.load(kRelaxed));
  gain_.store(mean, kRelaxed);
  if (mean < 0) return rest(end, std::max(taken - alone, 0.01 * alone));
  // It has gone well for as long as it had rested.
  const std::int64_t since = rest_until_.load(kRelaxed);
  if (losses_.load(kRelaxed) > 0 && start - since > rest_.load(kRelaxed)) {
    losses_.store(losses_.load(kRelaxed) - 1, kRelaxed);
    rest_until_.store(start, kRelaxed);
  }
}

}  // namespace sparseagent
