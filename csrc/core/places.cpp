#include "core/places.h"

#include <algorithm>

namespace sparseagent {

std::int64_t settle(std::vector<Tenant>* tenants) {
  std::vector<Tenant*> order;
  for (Tenant& tenant : *tenants) order.push_back(&tenant);
  std::stable_sort(order.begin(), order.end(), [](const Tenant* a, const Tenant* b) {
    return a->first < b->first;
  });
  std::vector<const Tenant*> here;  // by place; those that may still live
  std::int64_t all = 0;
  for (Tenant* tenant : order) {
    const auto gone = [&](const Tenant* other) { return other->last < tenant->first; };
    here.erase(std::remove_if(here.begin(), here.end(), gone), here.end());
    std::int64_t place = 0;
    auto before = here.begin();
    for (; before != here.end(); ++before) {
      if (place + tenant->size <= (*before)->place) break;
      place = (*before)->place + (*before)->size;
    }
    tenant->place = place;
    here.insert(before, tenant);
    all = std::max(all, place + tenant->size);
  }
  return all;
}

}  // namespace sparseagent
