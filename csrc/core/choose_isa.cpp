#include <stdexcept>
#include <string>

#include "core/cpu.h"
#include "core/registry.h"

namespace sparseagent {

const Isa& choose_isa(const char* name) {
  const bool any = name == nullptr || *name == '\0';
  const char* last = "";
  const char* missing = nullptr;
  std::string known;
  for (int i = kIsaCount - 1; i >= 0; --i) {
    const Isa& isa = kIsas[i];
    if (any || std::string(name) == isa.name) {
      if (cpu_has(isa.needs)) return isa;
      missing = isa.needs;
    }
    if (std::string(last) == isa.name) continue;  // a variant
    last = isa.name;
    known = std::string(isa.name) + (known.empty() ? "" : ", ") + known;
  }
  if (missing != nullptr) {
    throw std::invalid_argument("isa: this machine cannot run '" + std::string(name) +
                                "', which needs " + missing);
  }
  throw std::invalid_argument("isa: expected one of " + known + ", got '" +
                              std::string(any ? "" : name) + "'");
}

const Isa* narrower_isa(const Isa& isa) {
  const int lanes = isa.kernels[0]->lanes;
  for (int i = kIsaCount - 1; i >= 0; --i) {
    const bool half = 2 * kIsas[i].kernels[0]->lanes == lanes;
    if (half && kIsas[i].kernels[0]->lanes > 1 && cpu_has(kIsas[i].needs))
      return &kIsas[i];
  }
  return nullptr;
}

const OpKernel& op_kernel(const Isa& isa, OpKind kind) {
  const char* name = kOpKinds[static_cast<std::size_t>(kind)];
  for (int i = 0; i < isa.op_count; ++i) {
    if (std::string(isa.ops[i]->kind) == name) return *isa.ops[i];
  }
  throw std::logic_error("isa " + std::string(isa.name) + " has no op " + name);
}

}  // namespace sparseagent
