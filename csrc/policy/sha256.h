// SHA-256 (FIPS 180-4).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sparseagent {

// The digest of the concatenation of three parts, as 64 hexadecimal digits.
std::string sha256(std::string_view first, std::string_view second,
                   std::string_view third);

}  // namespace sparseagent
