// The container of a policy file: a safetensors header, its metadata, and the arrays.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "policy/json.h"

namespace sparseagent {

class TensorFile {
 public:
  // Checks header, extents and checksum. Throws std::invalid_argument. Keeps pointing
  // into `data`.
  explicit TensorFile(std::string_view data);

  int version() const { return version_; }
  const Json& spec() const { return spec_; }

  bool has(const std::string& name) const { return tensors_.count(name) != 0; }

  // The numbers of an array with the given shape, copied out; throws if it has another
  // shape or type. Integers have 32 bits; where they may be `narrow`, also 16.
  std::vector<float> floats(const std::string& name,
                            const std::vector<std::int64_t>& shape) const;
  std::vector<double> doubles(const std::string& name,
                              const std::vector<std::int64_t>& shape) const;
  std::vector<std::int32_t> integers(const std::string& name,
                                     const std::vector<std::int64_t>& shape,
                                     bool narrow) const;

  // Length of an array of one axis.
  std::int64_t length(const std::string& name) const;
  const std::vector<std::int64_t>& shape(const std::string& name) const;

 private:
  struct Tensor {
    std::string dtype;
    std::vector<std::int64_t> shape;
    std::string_view bytes;
  };

  void read_header(std::string_view data);
  void read_tensors(const Json& header, std::string_view payload);
  void check_seal(std::string_view data, const std::string& seal) const;
  const Tensor& tensor(const std::string& name) const;
  const Tensor& shaped(const std::string& name, const std::vector<std::int64_t>& shape,
                       std::string_view dtype) const;

  int version_ = 0;
  Json spec_;
  std::map<std::string, Tensor> tensors_;
};

}  // namespace sparseagent
