#include "core/sharing.h"

#include <algorithm>

namespace sparseagent {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

// One call in so many is done alone while sharing pays, to see what it takes.
constexpr std::uint32_t kAloneEvery = 512;

// The most that counts of what was saved, in ns: enough for threads that must wake up
// first, not for one that is kept from running.
constexpr double kMost = 1e6;

// Rests are so many times as long as what was lost, twice that for each rest in a row:
// a single interruption costs little, a neighbour that stays soon almost nothing.
constexpr double kRest = 4;
constexpr int kMostDoublings = 8;
constexpr double kLongestNs = 1e9;

// The pace of one thread is the best of late: interruptions only add.
constexpr double kForget = 1.1;

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
  saved_.store(kCredit, kRelaxed);
}

void Sharing::note(bool shared, std::int64_t start, std::int64_t end, double estimate) {
  const auto taken = static_cast<double>(end - start);
  if (!shared) return note_alone(taken / estimate);
  const double alone = pace_.load(kRelaxed) * estimate;
  if (alone <= 0) return;
  const double saved = std::min(saved_.load(kRelaxed) + alone - taken, kMost);
  saved_.store(saved, kRelaxed);
  if (saved < 0) return rest(end, std::max(taken - alone, kCredit));
  // It has saved time for as long as it had rested.
  const bool long_enough = start - rest_until_.load(kRelaxed) > rest_.load(kRelaxed);
  if (losses_.load(kRelaxed) > 0 && saved >= kMost && long_enough) {
    losses_.store(losses_.load(kRelaxed) / 2, kRelaxed);
    rest_until_.store(start, kRelaxed);
  }
}

}  // namespace sparseagent
