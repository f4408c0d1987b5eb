// What a convolution or a pool slides over an image, and where.
#pragma once

#include <cstdint>

namespace sparseagent {

// Plain data, checked by check_window (core/check.h): no sum or product below
// overflows, and the kernel stands somewhere.
struct Window {
  std::int32_t channels;
  std::int32_t height;
  std::int32_t width;
  std::int32_t kernel[2];  // of pairs, the first is downwards, the second across
  std::int32_t stride[2];
  std::int32_t padding[4];  // top, left, bottom, right
  std::int32_t dilation[2];
  bool channels_last;  // the image comes as [height, width, channels]

  std::int32_t in() const { return channels * height * width; }
  std::int32_t taps() const { return channels * kernel[0] * kernel[1]; }

  // Of the image with its padding.
  std::int32_t padded_height() const { return padding[0] + height + padding[2]; }
  std::int32_t padded_width() const { return padding[1] + width + padding[3]; }
  bool pads() const { return padded_height() != height || padded_width() != width; }

  std::int32_t out_height() const {
    return (padded_height() - dilation[0] * (kernel[0] - 1) - 1) / stride[0] + 1;
  }
  std::int32_t out_width() const {
    return (padded_width() - dilation[1] * (kernel[1] - 1) - 1) / stride[1] + 1;
  }
  std::int32_t pixels() const { return out_height() * out_width(); }

  // Where a feature of the image lies among all of them.
  std::int32_t place(std::int32_t channel, std::int32_t y, std::int32_t x) const {
    return channels_last ? (y * width + x) * channels + channel
                         : (channel * height + y) * width + x;
  }
};

// One tap of a kernel, by its number: channel by channel, row by row.
struct Tap {
  std::int32_t channel;
  std::int32_t y;  // of the padded image, for the kernel at its first place
  std::int32_t x;

  Tap(const Window& window, std::int32_t number)
      : channel(number / (window.kernel[0] * window.kernel[1])),
        y(number / window.kernel[1] % window.kernel[0] * window.dilation[0]),
        x(number % window.kernel[1] * window.dilation[1]) {}
};

}  // namespace sparseagent
