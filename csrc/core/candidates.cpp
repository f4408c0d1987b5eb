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
    {"perm", false, 0.075, 0.0},
    {"block", false, 0.030, 0.022},
    {"csr", false, 0.160, 0.035},
};
constexpr Rate kOther = {"", false, 0.170, 0.034};

}  // namespace

const Kernel* named_kernel(const Isa& isa, const std::string& format) {
  if (format.empty()) return nullptr;
  std::string known;
  for (int i = 0; i < isa.kernel_count; ++i) {
    const Kernel* kernel = isa.kernels[i];
    if (!kernel->has_one && !kernel->has_tile) continue;
    if (format == kernel->format) return kernel;
    known += ", " + std::string(kernel->format);
  }
  throw std::invalid_argument("format: expected auto" + known + " on isa " + isa.name +
                              ", got '" + format + "'");
}

double guess_ns(const Kernel& kernel, const LayerView& layer, const Regime& regime) {
  Rate rate = kOther;
  for (const Rate& known : kRates) {
    if (std::string(kernel.format) == known.format) rate = known;
  }
  const double weights =
      rate.all ? static_cast<double>(layer.out) * layer.in : layer.nnz();
  const double each = regime.path == Path::one ? rate.one : rate.tile;
  const bool shares = regime.columns > 1 && kernel.few != nullptr;
  const double saved = regime.path == Path::one && shares ? 0.7 : 1.0;
  return 20 + weights * each * regime.columns * saved * 16 / kernel.lanes;
}

Candidates pack_candidates(const Isa& isa, const LayerView& layer, int number,
                           Path path, const Kernel* forced) {
  Candidates candidates;
  for (int i = 0; i < isa.kernel_count; ++i) {
    const Kernel& kernel = *isa.kernels[i];
    if (!has_path(kernel, path)) continue;
    if (forced != nullptr && has_path(*forced, path) && &kernel != forced) continue;
    if (kernel.packed_bytes(layer, path) == 0) continue;
    candidates.push_back(std::make_shared<PackedLayer>(kernel, layer, path));
  }
  if (candidates.empty()) {
    throw std::invalid_argument("format: '" + std::string(forced->format) +
                                "' cannot follow the structure and order of layer " +
                                std::to_string(number) +
                                "; dense needs a policy repacked to 'ascending', block "
                                "neighbouring rows with the same columns");
  }
  const Regime single = {path, 1, path == Path::tile ? 1 : 0};
  std::stable_sort(candidates.begin(), candidates.end(),
                   [&](const auto& a, const auto& b) {
                     return guess_ns(*a->kernel, layer, single) <
                            guess_ns(*b->kernel, layer, single);
                   });
  return candidates;
}

}  // namespace sparseagent
