#include "policy/window.h"

#include <stdexcept>
#include <string>

#include "core/check.h"
#include "core/layer.h"

namespace sparseagent {
namespace {

void read_numbers(const Json& spec, const char* key, std::int64_t low,
                  std::size_t count, std::int32_t* to) {
  const auto& items = spec.at(key).items(key);
  if (items.size() != count) {
    throw std::invalid_argument(std::string(key) + ": expected " +
                                std::to_string(count) + " numbers");
  }
  for (const Json& item : items) {
    *to++ = static_cast<std::int32_t>(item.whole(key, low, kMaxWidth));
  }
}

}  // namespace

Window read_window(const Json& spec) {
  Window window = {};
  std::int32_t image[3];
  read_numbers(spec, "image", 1, 3, image);
  window.channels = image[0];
  window.height = image[1];
  window.width = image[2];
  read_numbers(spec, "kernel", 1, 2, window.kernel);
  read_numbers(spec, "stride", 1, 2, window.stride);
  read_numbers(spec, "padding", 0, 4, window.padding);
  read_numbers(spec, "dilation", 1, 2, window.dilation);
  window.channels_last = spec.at("channels_last").truth("channels_last");
  check_window(window);
  return window;
}

}  // namespace sparseagent
