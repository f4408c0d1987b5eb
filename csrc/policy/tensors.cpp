#include "policy/tensors.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "policy/sha256.h"

namespace sparseagent {
namespace {

constexpr std::uint64_t kLongestHeader = 4 << 20;
constexpr std::size_t kSealDigits = 64;
constexpr int kNewestVersion = 2;

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument(what); }

std::int64_t bytes_of(const std::string& dtype) {
  static constexpr struct {
    const char* name;
    int bytes;
  } kTypes[] = {{"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"I16", 2},
                {"U16", 2},  {"F16", 2}, {"I32", 4}, {"U32", 4},
                {"F32", 4},  {"I64", 8}, {"U64", 8}, {"F64", 8}};
  for (const auto& type : kTypes) {
    if (dtype == type.name) return type.bytes;
  }
  refuse("tensors: unknown type '" + dtype.substr(0, 16) + "'");
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  }
  return text + "]";
}

template <typename To, typename From>
std::vector<To> widened(std::string_view bytes) {
  std::vector<To> numbers(bytes.size() / sizeof(From));
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    From number;
    std::memcpy(&number, bytes.data() + i * sizeof(From), sizeof(From));
    numbers[i] = static_cast<To>(number);
  }
  return numbers;
}

}  // namespace

TensorFile::TensorFile(std::string_view data) { read_header(data); }

void TensorFile::read_header(std::string_view data) {
  if (data.size() < 8) refuse("not a policy file: expected at least 8 bytes");
  std::uint64_t length = 0;
  for (int i = 7; i >= 0; --i) {
    length =
        length << 8 | static_cast<unsigned char>(data[static_cast<std::size_t>(i)]);
  }
  if (length > kLongestHeader || length > data.size() - 8) {
    refuse("not a policy file, or truncated: its header has " + std::to_string(length) +
           " bytes");
  }
  const Json header = Json::parse(data.substr(8, length));
  const Json& metadata = header.at("__metadata__");
  for (const auto& [key, text] : metadata.members("__metadata__")) {
    text.text("__metadata__");
  }
  if (metadata.at("format").text("format") != "sparseagent") {
    refuse("format: expected 'sparseagent'");
  }
  const std::string& version = metadata.at("format_version").text("format_version");
  if (version != "1" && version != "2") {
    refuse("format_version: this sparseagent reads versions 1 to " +
           std::to_string(kNewestVersion) + ", the file has " + version.substr(0, 16) +
           "; a newer sparseagent may read it");
  }
  version_ = version[0] - '0';
  check_seal(data, metadata.at("checksum").text("checksum"));
  spec_ = Json::parse(metadata.at("spec").text("spec"));
  read_tensors(header, data.substr(8 + length));
}

// The digest of the whole file with the digits of the digest itself set to zeros.
void TensorFile::check_seal(std::string_view data, const std::string& seal) const {
  const std::size_t place = data.find(seal);
  if (seal.size() != kSealDigits || place == data.npos ||
      data.find(seal, place + 1) != data.npos) {
    refuse("checksum: expected 64 digits that occur once in the file");
  }
  const std::string zeros(kSealDigits, '0');
  if (sha256(data.substr(0, place), zeros, data.substr(place + kSealDigits)) != seal) {
    refuse("checksum: the file was altered or truncated");
  }
}

// Arrays follow each other without gaps, so that together they are no more than the
// file.
void TensorFile::read_tensors(const Json& header, std::string_view payload) {
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  std::vector<std::pair<std::int64_t, std::int64_t>> extents;
  for (const auto& [name, entry] : header.members("header")) {
    if (name == "__metadata__") continue;
    Tensor tensor;
    tensor.dtype = entry.at("dtype").text("dtype");
    std::int64_t bytes = bytes_of(tensor.dtype);
    for (const Json& axis : entry.at("shape").items("shape")) {
      tensor.shape.push_back(axis.whole("shape", 0, kMost));
      if (bytes > 0 && tensor.shape.back() > kMost / bytes)
        refuse("tensors: too large");
      bytes *= tensor.shape.back();
    }
    const auto& offsets = entry.at("data_offsets").items("data_offsets");
    if (offsets.size() != 2) refuse("data_offsets: expected two");
    const std::int64_t size = static_cast<std::int64_t>(payload.size());
    const std::int64_t first = offsets[0].whole("data_offsets", 0, size);
    const std::int64_t last = offsets[1].whole("data_offsets", first, size);
    if (last - first != bytes) refuse("tensors: " + name + ": its bytes do not fit");
    tensor.bytes = payload.substr(static_cast<std::size_t>(first),
                                  static_cast<std::size_t>(bytes));
    extents.emplace_back(first, last);
    tensors_.emplace(name, std::move(tensor));
  }
  std::sort(extents.begin(), extents.end());
  std::int64_t end = 0;
  for (const auto& [first, last] : extents) {
    if (first != end) refuse("tensors: they overlap or leave gaps");
    end = last;
  }
  if (end != static_cast<std::int64_t>(payload.size())) {
    refuse("tensors: expected them to fill the file");
  }
}

const TensorFile::Tensor& TensorFile::tensor(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) refuse(name + ": expected this array");
  return found->second;
}

const std::vector<std::int64_t>& TensorFile::shape(const std::string& name) const {
  return tensor(name).shape;
}

std::int64_t TensorFile::length(const std::string& name) const {
  const Tensor& found = tensor(name);
  if (found.shape.size() != 1) refuse(name + ": expected one axis");
  return found.shape[0];
}

const TensorFile::Tensor& TensorFile::shaped(const std::string& name,
                                             const std::vector<std::int64_t>& shape,
                                             std::string_view dtype) const {
  const Tensor& found = tensor(name);
  if (found.shape != shape || found.dtype != dtype) {
    refuse(name + ": expected " + std::string(dtype) + " " + shape_text(shape) +
           ", got " + found.dtype + " " + shape_text(found.shape));
  }
  return found;
}

std::vector<float> TensorFile::floats(const std::string& name,
                                      const std::vector<std::int64_t>& shape) const {
  return widened<float, float>(shaped(name, shape, "F32").bytes);
}

std::vector<double> TensorFile::doubles(const std::string& name,
                                        const std::vector<std::int64_t>& shape) const {
  return widened<double, double>(shaped(name, shape, "F64").bytes);
}

std::vector<std::int32_t> TensorFile::integers(const std::string& name,
                                               const std::vector<std::int64_t>& shape,
                                               bool narrow) const {
  if (narrow && tensor(name).dtype == "U16") {
    return widened<std::int32_t, std::uint16_t>(shaped(name, shape, "U16").bytes);
  }
  return widened<std::int32_t, std::int32_t>(shaped(name, shape, "I32").bytes);
}

}  // namespace sparseagent
