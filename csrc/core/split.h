// A layer's rows split among threads.
#pragma once

#include <vector>

#include "core/schedule.h"

namespace sparseagent {

// `count` or fewer runs of rows with about equal work, each packed by itself for
// `kernel`; empty if the kernel cannot or the layer has too few rows.
std::vector<RowPart> split_rows(const LayerView& layer, const Kernel& kernel,
                                int count);

// Rows [first, first + rows) of a layer as a layer.
class RowSlice {
 public:
  RowSlice(const LayerView& layer, std::int32_t first, std::int32_t rows);
  const LayerView& view() const { return view_; }

 private:
  std::vector<std::int32_t> indptr_;
  LayerView view_;
};

}  // namespace sparseagent
