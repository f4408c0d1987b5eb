#include "core/candidates.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace sparseagent {
namespace {

bool has_path(const Kernel& kernel, Path path) {
  return path == Path::one ? kernel.has_one : kernel.has_tile;
}

// ns for each weight that is multiplied, of one observation on 16 lanes.
struct Rate {
  const char* format;
  bool all;  // multiplies absent weights too
  double one;
  double tile;
};

constexpr Rate kRates[] = {
    {"dense", true, 0.020, 0.019},
    {"perm", false, 0.065, 0.0},
    {"block", false, 0.030, 0.022},
    {"csr", false, 0.160, 0.035},
};
constexpr Rate kOther = {"", false, 0.170, 0.034};

// Lookups need an order made for them: in ascending order more lanes wait, unless the
// mask is lane-balanced. What is streamed says how many: a lane takes five bytes
// whether it waits or not, which is about eight a weight in an order made for lookups.
constexpr double kBytesAWeight = 8;

// Not worth packing if the guess is so many times the best one.
constexpr double kHopeless = 6;

// Bytes that a packed layer may take, at most: so many for each weight and chain. A
// kernel that pads more than that is no faster than one that does not, and what a plan
// costs stays in proportion to its policy. csr always keeps to it.
constexpr double kBytesEach = 128;
constexpr double kBytesFree = 1 << 14;

bool affordable(std::size_t bytes, const LayerView& layer) {
  const double most =
      kBytesFree + kBytesEach * (static_cast<double>(layer.nnz()) + layer.chains());
  return static_cast<double>(bytes) <= most;
}

// Kernels of convolutions and those of other layers are two kinds.
bool suits(const Kernel& kernel, const LayerView& layer) {
  return (kernel.image != nullptr) == (layer.window != nullptr);
}

// The kernel called `format` for that kind of layer; null if `format` is empty, or only
// the other kind has it.
const Kernel* named_kernel(const Isa& isa, const LayerView& layer,
                           const std::string& format) {
  if (format.empty()) return nullptr;
  std::string known;
  bool elsewhere = false;
  for (int i = 0; i < isa.kernel_count; ++i) {
    const Kernel* kernel = isa.kernels[i];
    if (!kernel->has_one && !kernel->has_tile) continue;
    if (format == kernel->format && suits(*kernel, layer)) return kernel;
    elsewhere = elsewhere || format == kernel->format;
    if (known.find(", " + std::string(kernel->format)) == std::string::npos)
      known += ", " + std::string(kernel->format);
  }
  if (elsewhere) return nullptr;
  throw std::invalid_argument("format: expected auto" + known + " on isa " + isa.name +
                              ", got '" + format + "'");
}

bool is_ascending(const LayerView& layer) {
  for (std::int32_t r = 0; r < layer.out && layer.runs == 1; ++r) {
    for (std::int32_t k = layer.indptr[r] + 1; k < layer.indptr[r + 1]; ++k) {
      if (layer.indices[k - 1] >= layer.indices[k]) return false;
    }
  }
  return layer.runs == 1;
}

std::shared_ptr<PackedLayer> pack(const Kernel& kernel, const LayerView& layer,
                                  Path path, const Candidates& before) {
  for (const auto& other : before) {
    const bool alike = other->path == Path::tile && path == Path::tile &&
                       std::string(other->kernel->format) == kernel.format;
    if (alike && kernel.shares_tiles)
      return std::make_shared<PackedLayer>(kernel, *other);
  }
  return std::make_shared<PackedLayer>(kernel, layer, path);
}

// Convolutions: every tap is met at every place, by four channels or by one.
double guess_window_ns(const Kernel& kernel, const LayerView& layer,
                       const Regime& regime) {
  const bool shared = std::string(kernel.format) == "dense";
  constexpr double kBytesOfTap = 24;  // of four weights
  double weights = layer.nnz();
  if (shared) {
    weights = static_cast<double>(kernel.packed_bytes(layer, Path::one)) / kBytesOfTap;
    weights *= 4;
  }
  const double each = (shared ? 0.012 : 0.025) * 16 / kernel.lanes;
  return 100 + weights * each * layer.window->pixels() * regime.columns;
}

}  // namespace

double guess_ns(const Kernel& kernel, const LayerView& layer, const Regime& regime) {
  if (layer.window != nullptr) return guess_window_ns(kernel, layer, regime);
  Rate rate = kOther;
  for (const Rate& known : kRates) {
    if (std::string(kernel.format) == known.format) rate = known;
  }
  const double all = static_cast<double>(layer.out) * layer.in;
  double weights = rate.all ? all : layer.nnz();
  if (std::string(kernel.format) == "perm" && is_ascending(layer)) {
    weights =
        static_cast<double>(kernel.packed_bytes(layer, Path::one)) / kBytesAWeight;
  }
  const double each = regime.path == Path::one ? rate.one : rate.tile;
  const bool shares = regime.columns > 1 && kernel.few != nullptr;
  const double saved = regime.path == Path::one && shares ? 0.7 : 1.0;
  return 20 + weights * each * regime.columns * saved * 16 / kernel.lanes;
}

Candidates pack_candidates(const LayerView& layer, int number, const Regime& regime,
                           const std::string& format, bool one,
                           const Candidates& before) {
  const Isa& isa = *regime.isa;
  const Kernel* forced = named_kernel(isa, layer, format);
  std::vector<std::pair<double, const Kernel*>> kernels;
  for (int i = 0; i < isa.kernel_count; ++i) {
    const Kernel* kernel = isa.kernels[i];
    if (!suits(*kernel, layer) || !has_path(*kernel, regime.path)) continue;
    if (forced != nullptr && has_path(*forced, regime.path) && kernel != forced)
      continue;
    kernels.emplace_back(guess_ns(*kernel, layer, regime), kernel);
  }
  std::stable_sort(kernels.begin(), kernels.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  Candidates candidates;
  double best = 0;
  for (const auto& [ns, kernel] : kernels) {
    if (!candidates.empty() && (one || ns > kHopeless * best)) break;
    const std::size_t bytes = kernel->packed_bytes(layer, regime.path);
    if (bytes == 0 || (kernel != forced && !affordable(bytes, layer))) continue;
    if (candidates.empty()) best = ns;
    candidates.push_back(pack(*kernel, layer, regime.path, before));
  }
  if (candidates.empty()) {
    throw std::invalid_argument("format: '" + std::string(forced->format) +
                                "' cannot follow the structure and order of layer " +
                                std::to_string(number) +
                                "; dense needs a policy repacked to 'ascending', block "
                                "neighbouring rows with the same columns");
  }
  return candidates;
}

}  // namespace sparseagent
