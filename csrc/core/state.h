// The states of recurrent programs between calls, in a layout that tiles can take as it
// is: row-major would cost half of a batched step.
//
// Rows lie in blocks of `width`, in each feature by feature; a width of 1 is row-major.
#pragma once

#include <cstdint>

namespace sparseagent {

struct StateLayout {
  std::int32_t size = 0;  // features of all states, one behind the other
  std::int64_t rows = 0;
  std::int32_t width = 1;

  std::int64_t floats() const { return (rows + width - 1) / width * width * size; }
  std::int64_t place(std::int64_t row, std::int64_t feature) const {
    return (row / width * size + feature) * width + row % width;
  }
};

// What a call does with the states of its rows.
struct StateRows {
  const float* from = nullptr;  // null: all of them are 0
  StateLayout from_layout = {};
  float* to = nullptr;  // null: nobody wants the new ones; never `from`
  StateLayout to_layout = {};
  const std::uint8_t* starts = nullptr;  // not 0: the row's states are 0; null: none
  std::int64_t first = 0;                // where the call's first row is in all of them

  // The same for the rows from `rows` on.
  StateRows behind(std::int64_t rows) const {
    StateRows rest = *this;
    rest.first += rows;
    return rest;
  }
};

}  // namespace sparseagent
