#include "core/split.h"

#include <algorithm>

namespace sparseagent {
namespace {

// Cuts are at multiples of so many rows: whole groups of every kernel on every ISA.
constexpr std::int32_t kUnit = 64;

}  // namespace

RowSlice::RowSlice(const LayerView& layer, std::int32_t first, std::int32_t rows)
    : view_(layer) {
  const std::int32_t* from = layer.indptr + first * layer.runs;
  const std::int32_t start = *from;
  for (std::int32_t i = 0; i <= rows * layer.runs; ++i) {
    indptr_.push_back(from[i] - start);
  }
  view_.out = rows;
  view_.indptr = indptr_.data();
  view_.indices += start;
  view_.values += start;
  view_.bias += first;
}

std::vector<RowPart> split_rows(const LayerView& layer, const Kernel& kernel,
                                int count) {
  // Work up to a row: its entries, and a little for the row itself.
  const auto work = [&](std::int32_t row) {
    return layer.indptr[static_cast<std::int64_t>(row) * layer.runs] +
           std::int64_t{4} * row;
  };
  std::vector<RowPart> parts;
  std::int32_t first = 0;
  for (int part = 1; part <= count && first < layer.out; ++part) {
    const std::int64_t goal = work(layer.out) * part / count;
    std::int32_t end = first + std::min(kUnit, layer.out - first);
    while (end < layer.out &&
           (part == count || work(std::min(end + kUnit / 2, layer.out)) < goal)) {
      end = std::min(end + kUnit, layer.out);
    }
    const RowSlice slice(layer, first, end - first);
    if (kernel.packed_bytes(slice.view(), Path::one) == 0) return {};
    parts.push_back({std::make_shared<PackedLayer>(kernel, slice.view(), Path::one),
                     first, end - first});
    first = end;
  }
  return parts.size() > 1 ? std::move(parts) : std::vector<RowPart>();
}

}  // namespace sparseagent
