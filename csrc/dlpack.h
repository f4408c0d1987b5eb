// DLPack's structures, as far as arrays of others are read and ours handed out: the
// memory layout that https://dmlc.github.io/dlpack/latest/c_api.html fixes for version
// 1, with the exchange by C functions of version 1.3.
#pragma once

#include <cstdint>

namespace sparseagent::dlpack {

struct Device {
  std::int32_t type;
  std::int32_t id;
};
constexpr std::int32_t kCpu = 1;

struct DataType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};
constexpr std::uint8_t kInt = 0;
constexpr std::uint8_t kUInt = 1;
constexpr std::uint8_t kFloat = 2;
constexpr std::uint8_t kBool = 6;

struct Tensor {
  void* data;
  Device device;
  std::int32_t ndim;
  DataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; null: C-contiguous
  std::uint64_t byte_offset;
};

struct Managed {  // capsule "dltensor"
  Tensor tensor;
  void* context;
  void (*deleter)(Managed*);
};

struct Version {
  std::uint32_t major;
  std::uint32_t minor;
};

struct Versioned {  // capsule "dltensor_versioned"
  Version version;
  void* context;
  void (*deleter)(Versioned*);
  std::uint64_t flags;
  Tensor tensor;
};
constexpr std::uint64_t kReadOnly = 1;

// Behind a capsule "dlpack_exchange_api", the attribute `__dlpack_c_exchange_api__` of
// a type of arrays. Functions return 0, or have set a Python error.
struct Exchange {
  Version version;
  Exchange* previous;  // of an older version
  int (*allocate)(Tensor* prototype, Versioned** out, void* context,
                  void (*set_error)(void* context, const char* kind, const char* text));
  int (*managed_from_object)(void* object, Versioned** out);
  int (*object_from_managed)(Versioned* tensor, void** out);
  int (*tensor_from_object)(void* object, Tensor* out);  // may be null
  int (*current_stream)(std::int32_t device_type, std::int32_t device, void** out);
};

}  // namespace sparseagent::dlpack
