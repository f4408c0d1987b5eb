// Hostile policy files for the reader: refused with std::invalid_argument, or a program
// that runs with the bits of the reference. Run it under sanitizers.
//
// With libFuzzer (SPARSEAGENT_FUZZ) it is a fuzz target, whose mutator knows the file's
// parts; otherwise `fuzz_reader CASES SEED FIRST FILE...` runs so many cases of a seed
// from case FIRST on. Case n of a seed is always the same one.
#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/plan.h"
#include "core/reference.h"
#include "policy/read.h"
#include "policy/sha256.h"

using namespace sparseagent;

namespace {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 2 + 1) { bits(), bits(); }
  std::uint32_t bits() {
    state_ = state_ * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<std::uint32_t>(state_ >> 33);
  }
  std::size_t below(std::size_t n) { return n == 0 ? 0 : bits() % n; }
  template <typename T, std::size_t n>
  const T& pick(const T (&among)[n]) {
    return among[below(n)];
  }
  float uniform() { return static_cast<float>(bits() & 0xffffff) * 0x1p-23f - 1.0f; }

 private:
  std::uint64_t state_;
};

// ---- the file: 8 bytes of length, JSON, arrays

struct Parts {
  std::string header;
  std::string arrays;
};

std::uint64_t length_of(const std::string& file) {
  std::uint64_t length = 0;
  for (int i = 7; i >= 0; --i) {
    length =
        length << 8 | static_cast<unsigned char>(file[static_cast<std::size_t>(i)]);
  }
  return length;
}

Parts take_apart(const std::string& file) {
  if (file.size() < 8) return {"", file};
  const std::size_t length = std::min<std::uint64_t>(length_of(file), file.size() - 8);
  return {file.substr(8, length), file.substr(8 + length)};
}

std::string put_together(const Parts& parts) {
  std::string file;
  for (int i = 0; i < 8; ++i) {
    file.push_back(static_cast<char>(parts.header.size() >> 8 * i));
  }
  return file + parts.header + parts.arrays;
}

// A checksum that fits, where there is a place for one.
void seal(std::string* file) {
  static const std::string kMark = "\"checksum\":\"";
  constexpr std::size_t kDigits = 64;
  const std::size_t mark = file->find(kMark);
  if (mark == file->npos || mark + kMark.size() + kDigits > file->size()) return;
  const std::size_t place = mark + kMark.size();
  file->replace(place, kDigits, kDigits, '0');
  file->replace(place, kDigits, sha256(*file, "", ""));
}

// ---- what damage looks like

using Places = std::vector<std::pair<std::size_t, std::size_t>>;  // first and size

// The longest runs of characters of one kind.
template <typename Kind>
Places runs_of(const std::string& text, const Kind& kind) {
  Places places;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::size_t first = i;
    while (i < text.size() && kind(static_cast<unsigned char>(text[i]))) ++i;
    if (i > first) places.emplace_back(first, i - first);
  }
  return places;
}

void damage_number(Random& random, std::string* header) {
  static const char* const kNumbers[] = {
      "0",   "1",     "2",    "3",       "7",       "64",         "65",
      "-1",  "0.5",   "1e30", "1e300",   "1048576", "2147483648", "4294967296",
      "255", "65536", "null", "1e-50",   "true",    "16",         "17",
      "[]",  "{}",    "9",    "4194304", "1e999",   "12",         "100"};
  const Places places = runs_of(*header, [](int c) { return std::isdigit(c) != 0; });
  if (places.empty()) return;
  const auto [first, size] = places[random.below(places.size())];
  header->replace(first, size, random.pick(kNumbers));
}

// One name in the place of another.
void damage_name(Random& random, std::string* header) {
  const Places places = runs_of(
      *header, [](int c) { return std::isalnum(c) != 0 || c == '_' || c == '.'; });
  if (places.empty()) return;
  const auto [from, count] = places[random.below(places.size())];
  const auto [first, size] = places[random.below(places.size())];
  header->replace(first, size, header->substr(from, count));
}

// Takes out, doubles or moves something between brackets.
void damage_structure(Random& random, std::string* header) {
  const Places places = runs_of(*header, [](int c) { return c == '{' || c == '['; });
  if (places.empty()) return;
  const std::size_t first = places[random.below(places.size())].first;
  int depth = 0;
  std::size_t end = first;
  while (end < header->size()) {
    const char c = (*header)[end++];
    depth += c == '{' || c == '[' ? 1 : c == '}' || c == ']' ? -1 : 0;
    if (depth == 0) break;
  }
  const std::string part = header->substr(first, end - first);
  switch (random.below(3)) {
    case 0: header->erase(first, part.size() + 1); break;
    case 1: header->insert(end, "," + part); break;
    default: header->insert(places[random.below(places.size())].first, part + ",");
  }
}

void damage_bytes(Random& random, std::string* bytes) {
  if (bytes->empty()) return;
  const std::size_t place = random.below(bytes->size());
  switch (random.below(4)) {
    case 0:
      (*bytes)[place] = static_cast<char>((*bytes)[place] ^ 1 << random.below(8));
      break;
    case 1: (*bytes)[place] = static_cast<char>(random.bits()); break;
    case 2: bytes->erase(place, 1 + random.below(8)); break;
    default: bytes->insert(place, bytes->substr(place, 1 + random.below(8)));
  }
}

// A number of four bytes that somebody may stumble over.
void damage_array(Random& random, std::string* arrays) {
  static const std::uint32_t kNumbers[] = {
      0,          1,          0xffffffff, 0x7fffffff, 0x80000000, 2,
      0x7f800000, 0x7fc00000, 0x00000001, 0x7f7fffff, 0xff800000, 0x3f800000};
  if (arrays->size() < 4) return damage_bytes(random, arrays);
  const std::uint32_t number = random.pick(kNumbers);
  std::memcpy(&(*arrays)[random.below(arrays->size() / 4) * 4], &number, 4);
}

std::string damaged(Random& random, const std::string& file) {
  Parts parts = take_apart(file);
  static const std::size_t kTimes[] = {1, 1, 1, 2, 3};
  for (std::size_t times = random.pick(kTimes); times > 0; --times) {
    switch (random.below(8)) {
      case 0:
      case 1: damage_number(random, &parts.header); break;
      case 2:
      case 3: damage_name(random, &parts.header); break;
      case 4: damage_structure(random, &parts.header); break;
      case 5: damage_bytes(random, &parts.header); break;
      case 6: damage_array(random, &parts.arrays); break;
      default: damage_bytes(random, &parts.arrays);
    }
  }
  return put_together(parts);
}

// ---- one case

// Floats of one observation and of all weights: what has more is not worth its time.
constexpr std::int64_t kMost = 1 << 17;

std::int64_t size_of(const Program& program) {
  std::int64_t size = 0;
  for (const Op& op : program.ops) {
    size += op.write.size;
    for (const Span& span : op.reads) size += span.size;
    if (op.kind == OpKind::linear) {
      size += op.layer.nnz() + op.layer.chains();
      size += static_cast<std::int64_t>(op.layer.out) * op.layer.in / 64;
    }
  }
  return size;
}

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "fuzz_reader: %s\n", what);
  std::abort();
}

// Every output of a batch, plan and reference.
void compare(const Program& program, Random& random) {
  constexpr std::int64_t kBatch = 3;
  std::vector<std::vector<float>> rows;
  std::vector<Observations> inputs;
  for (const Input& input : program.inputs) {
    rows.emplace_back(static_cast<std::size_t>(input.step.size * kBatch));
    for (float& x : rows.back()) x = random.uniform() * 3;
    if (!input.step.categories.empty()) {
      for (float& x : rows.back()) x = std::floor(std::fabs(x));
    }
    inputs.push_back({rows.back().data(), DType::float32});
  }
  Plan::Options options;
  options.isa = "scalar";
  options.tune_ms = 0;
  const Plan plan(program, options);
  std::vector<std::vector<float>> outputs;
  std::vector<float*> to;
  for (const auto& [name, span] : program.outputs) {
    outputs.emplace_back(static_cast<std::size_t>(span.size * kBatch));
    to.push_back(outputs.back().data());
  }
  plan.forward({inputs.data(), to.data(), to.size()}, kBatch);
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    std::vector<float> expected(outputs[k].size());
    reference_forward(program, inputs, kBatch, k, expected.data());
    if (std::memcmp(expected.data(), to[k], expected.size() * sizeof(float)) != 0) {
      fail("the plan has other bits than the reference");
    }
  }
}

// Whether the reader takes it.
bool check(std::string file) {
  seal(&file);
  try {
    const Program program = read_policy(file.data(), file.size());
    Random random(file.size());
    if (size_of(program) <= kMost) compare(program, random);
    return true;
  } catch (const std::invalid_argument& error) {
    const std::size_t size = std::strlen(error.what());
    if (size == 0 || size > 10000) fail("expected a message of a readable length");
    return false;
  }
}

}  // namespace

#ifdef SPARSEAGENT_LIBFUZZER

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size,
                                        std::size_t most);

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed) {
  Random random(seed);
  if (random.below(4) == 0) return LLVMFuzzerMutate(data, size, most);
  const std::string file = damaged(random, {reinterpret_cast<const char*>(data), size});
  if (file.size() > most) return size;
  std::memcpy(data, file.data(), file.size());
  return file.size();
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  check({reinterpret_cast<const char*>(data), size});
  return 0;
}

#else

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "fuzz_reader CASES SEED FIRST FILE...\n");
    return 2;
  }
  std::vector<std::string> files;
  for (int i = 4; i < argc; ++i) {
    std::ifstream stream(argv[i], std::ios::binary);
    files.emplace_back(std::istreambuf_iterator<char>(stream),
                       std::istreambuf_iterator<char>());
    if (!check(files.back())) {
      std::fprintf(stderr, "%s: expected a policy file\n", argv[i]);
      return 2;
    }
  }
  const auto cases = std::strtoull(argv[1], nullptr, 10);
  const auto seed = std::strtoull(argv[2], nullptr, 10);
  const auto first = std::strtoull(argv[3], nullptr, 10);
  unsigned long long taken = 0;
  for (auto number = first; number < first + cases; ++number) {
    // A case that ends the process is the one that was named last, or one of the 1000
    // behind it: FIRST says where to go on, few CASES name each.
    if (cases <= 1000 || number % 1000 == 0) std::fprintf(stderr, "\r%llu", number);
    Random random(seed << 40 ^ number);
    taken += check(damaged(random, files[random.below(files.size())])) ? 1 : 0;
  }
  std::fprintf(stderr, "\r");
  std::printf("%llu cases of seed %llu: %llu taken, %llu refused\n", cases, seed, taken,
              cases - taken);
  return taken > 0 && taken < cases ? 0 : 1;
}

#endif
