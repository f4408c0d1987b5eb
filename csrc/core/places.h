// Places for what does not live all the time: those that do not meet share one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sparseagent {

// Something that needs a place from op `first` to op `last`.
struct Tenant {
  std::int64_t size;
  std::size_t first;
  std::size_t last;
  std::int64_t place = -1;
};

// The lowest place for each, in the order in which they come: no two that live at the
// same time overlap. Returns how many floats they take together.
std::int64_t settle(std::vector<Tenant>* tenants);

}  // namespace sparseagent
