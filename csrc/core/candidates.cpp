#include "core/candidates.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace sparseagent {
namespace {

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
  return kernel.slides == (layer.window != nullptr);
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
    if (!has_path(*kernel, Path::one) && !has_path(*kernel, Path::tile)) continue;
    if (format == kernel->format && suits(*kernel, layer)) return kernel;
    elsewhere = elsewhere || format == kernel->format;
    if (known.find(", " + std::string(kernel->format)) == std::string::npos)
      known += ", " + std::string(kernel->format);
  }
  if (elsewhere) return nullptr;
  throw std::invalid_argument("format: expected auto" + known + " on isa " + isa.name +
                              ", got '" + format + "'");
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

}  // namespace

double guess_ns(const Kernel& kernel, const LayerView& layer, const Regime& regime) {
  const Rates& rates = kernel.rates;
  const double rate = regime.path == Path::tile ? rates.tile
                      : regime.columns > 1      ? rates.few
                                                : rates.one;
  const double work = kernel.work(layer, regime.path) * regime.columns;
  return 20 + work * rate * 16 / kernel.lanes;
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
                                std::to_string(number) + "; it needs " + forced->needs);
  }
  return candidates;
}

}  // namespace sparseagent
