// Arrays on a device, of whatever library: borrowed where they lie, and results in the
// library of the caller. Part of bind_cuda.cpp, which alone includes it.
//
// In this order: DLPack's exchange by C functions (torch), which also names the stream
// that the library works on; `__cuda_array_interface__` (CuPy, Warp, Numba);
// `__dlpack__` (JAX and others).
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/observation.h"
#include "cuda/driver.h"
#include "dlpack.h"

namespace py = pybind11;

namespace {

using namespace sparseagent;

std::string axes_text(const std::vector<std::int64_t>& axes) {
  std::string text = "[";
  for (std::size_t i = 0; i < axes.size(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(axes[i]);
  }
  return text + "]";
}

// An array of someone else, for one call.
struct Borrowed {
  std::string name;  // of the argument
  py::object array;
  py::object kept;  // keeps the memory besides, if anything does
  char* data = nullptr;
  std::vector<std::int64_t> shape;
  dlpack::DataType dtype = {};
  bool read_only = false;
  bool known_stream = false;
  void* stream = nullptr;  // that its library works on
  const dlpack::Exchange* exchange = nullptr;

  std::int64_t size() const {
    std::int64_t n = 1;
    for (const std::int64_t axis : shape) n *= axis;
    return n;
  }
  std::int64_t bytes() const { return size() * dtype.bits / 8; }

  std::string text() const {
    const char* kinds[] = {"int",    "uint",    "float", "opaque",
                           "bfloat", "complex", "bool"};
    const std::string kind =
        dtype.code < std::size(kinds) ? kinds[dtype.code] : "another type of ";
    return (dtype.code == dlpack::kBool ? kind : kind + std::to_string(dtype.bits)) +
           " " + axes_text(shape);
  }

  [[noreturn]] void refuse(const std::string& expected) const {
    throw std::invalid_argument(name + ": expected " + expected + ", got " + text());
  }

  DType number_type() const {
    if (dtype.lanes == 1) {
      if (dtype.code == dlpack::kFloat && dtype.bits == 32) return DType::float32;
      if (dtype.code == dlpack::kFloat && dtype.bits == 64) return DType::float64;
      if (dtype.code == dlpack::kUInt && dtype.bits == 8) return DType::uint8;
      if (dtype.code == dlpack::kInt && dtype.bits == 8) return DType::int8;
      if (dtype.code == dlpack::kInt && dtype.bits == 32) return DType::int32;
      if (dtype.code == dlpack::kInt && dtype.bits == 64) return DType::int64;
      if (dtype.code == dlpack::kBool && dtype.bits == 8) return DType::boolean;
    }
    throw py::type_error(
        name + ": expected float32, float64, uint8, int8, int32, int64 or bool, got " +
        text());
  }
};

std::string type_name(const py::handle& object) {
  return py::str(py::type::of(object).attr("__module__")).cast<std::string>() + "." +
         Py_TYPE(object.ptr())->tp_name;
}

// Takes over what a tensor says, having checked that it can be used where it lies.
void take_tensor(const dlpack::Tensor& tensor, int device, Borrowed* b) {
  b->shape.assign(tensor.shape, tensor.shape + tensor.ndim);
  b->dtype = tensor.dtype;
  b->data = static_cast<char*>(tensor.data) + tensor.byte_offset;
  const int type = cuda::array_device();
  if (tensor.device.type != type || tensor.device.id != device) {
    const bool other = tensor.device.type == type;
    throw std::invalid_argument(
        b->name + ": expected an array on cuda:" + std::to_string(device) +
        ", got one " +
        (other ? "on cuda:" + std::to_string(tensor.device.id)
               : "that is not in the memory of a GPU") +
        "; move it there, or compile for the device where it is");
  }
  std::int64_t step = 1;
  for (int axis = tensor.ndim - 1; tensor.strides != nullptr && axis >= 0; --axis) {
    if (tensor.shape[axis] != 1 && tensor.strides[axis] != step && b->size() > 0) {
      throw std::invalid_argument(b->name + ": expected a C-contiguous array, got " +
                                  b->text() +
                                  " with strides; make it contiguous first");
    }
    step *= tensor.shape[axis];
  }
  const auto unit = static_cast<std::uintptr_t>(tensor.dtype.bits / 8);
  if (unit > 0 && reinterpret_cast<std::uintptr_t>(b->data) % unit != 0) {
    b->refuse("memory aligned to its type");
  }
}

const dlpack::Exchange* exchange_of(const py::handle& array) {
  PyObject* capsule = PyObject_GetAttrString(
      reinterpret_cast<PyObject*>(Py_TYPE(array.ptr())), "__dlpack_c_exchange_api__");
  if (capsule == nullptr) {
    PyErr_Clear();
    return nullptr;
  }
  const auto held = py::reinterpret_steal<py::object>(capsule);
  const auto* api = static_cast<const dlpack::Exchange*>(
      PyCapsule_GetPointer(capsule, "dlpack_exchange_api"));
  if (api == nullptr) PyErr_Clear();
  while (api != nullptr && api->version.major != 1) api = api->previous;
  return api != nullptr && api->tensor_from_object != nullptr ? api : nullptr;
}

// torch can mark a tensor as negated or conjugated and leave its memory as it was.
void check_lazy_bits(const py::handle& array, const std::string& name) {
  for (const char* bit : {"is_neg", "is_conj"}) {
    if (py::hasattr(array, bit) && array.attr(bit)().cast<bool>()) {
      throw std::invalid_argument(
          name +
          ": expected numbers as they lie in memory, got a tensor that is lazily " +
          (std::strcmp(bit, "is_neg") == 0 ? "negated; use resolve_neg()"
                                           : "conjugated; use resolve_conj()"));
    }
  }
}

bool borrow_by_exchange(const py::handle& array, int device, Borrowed* b) {
  b->exchange = exchange_of(array);
  if (b->exchange == nullptr) return false;
  check_lazy_bits(array, b->name);
  dlpack::Tensor tensor = {};
  if (b->exchange->tensor_from_object(array.ptr(), &tensor) != 0) {
    const py::error_already_set error;
    const std::string why = py::str(error.value()).cast<std::string>();
    throw std::invalid_argument(
        b->name + ": expected a dense array on cuda:" + std::to_string(device) +
        ", got one that has none: " + why.substr(0, why.find('\n')));
  }
  take_tensor(tensor, device, b);
  const int type = cuda::array_device();
  if (b->exchange->current_stream(type, device, &b->stream) == 0) {
    b->known_stream = true;
  } else {
    PyErr_Clear();
  }
  return true;
}

dlpack::DataType type_of_text(const std::string& text, const std::string& name) {
  const std::string kinds = "iufb";
  const std::size_t kind = text.size() > 2 ? kinds.find(text[1]) : std::string::npos;
  if (kind == std::string::npos || text[0] == '>') {
    throw py::type_error(name + ": expected numbers in the machine's byte order, got " +
                         text);
  }
  constexpr std::uint8_t kCodes[] = {dlpack::kInt, dlpack::kUInt, dlpack::kFloat,
                                     dlpack::kBool};
  const int bytes = std::stoi(text.substr(2));
  return {kCodes[kind], static_cast<std::uint8_t>(8 * bytes), 1};
}

// `stream_of` says for an array which stream its library works on, or None.
bool borrow_by_interface(const py::handle& array, int device,
                         const py::object& stream_of, Borrowed* b) {
  if (!py::hasattr(array, "__cuda_array_interface__")) return false;
  const py::dict facts = array.attr("__cuda_array_interface__");
  auto shape = facts["shape"].cast<std::vector<std::int64_t>>();
  std::vector<std::int64_t> strides;
  dlpack::Tensor tensor = {};
  tensor.dtype = type_of_text(facts["typestr"].cast<std::string>(), b->name);
  tensor.device = {cuda::array_device(), device};
  tensor.ndim = static_cast<std::int32_t>(shape.size());
  tensor.shape = shape.data();
  const auto data = facts["data"].cast<std::pair<std::uintptr_t, bool>>();
  tensor.data = reinterpret_cast<void*>(data.first);
  b->read_only = data.second;
  if (facts.contains("mask") && !facts["mask"].is_none()) {
    throw std::invalid_argument(b->name + ": expected an array without a mask");
  }
  if (facts.contains("strides") && !facts["strides"].is_none()) {
    for (const py::handle stride : facts["strides"]) {
      strides.push_back(stride.cast<std::int64_t>() * 8 / tensor.dtype.bits);
    }
    if (strides.size() != shape.size()) {
      throw std::invalid_argument(b->name + ": expected a stride for each axis");
    }
    tensor.strides = strides.data();
  }
  if (tensor.data != nullptr) {  // null where there are no numbers
    const int where = cuda::device_of(tensor.data);
    tensor.device.type = where < 0 ? dlpack::kCpu - 1 : tensor.device.type;
    tensor.device.id = where < 0 ? 0 : where;
  }
  take_tensor(tensor, device, b);
  py::object stream =
      facts.contains("stream") ? py::object(facts["stream"]) : py::none();
  if (stream.is_none()) stream = stream_of(array);
  if (!stream.is_none()) {
    b->stream = reinterpret_cast<void*>(stream.cast<std::uintptr_t>());
    b->known_stream = true;
  }
  return true;
}

bool borrow_by_capsule(const py::handle& array, int device, void* stream, Borrowed* b) {
  if (!py::hasattr(array, "__dlpack__") || !py::hasattr(array, "__dlpack_device__")) {
    return false;
  }
  const auto where = array.attr("__dlpack_device__")().cast<std::pair<int, int>>();
  // Told which stream will read, the library lets that wait for what it has under way.
  py::object reader = py::none();
  if (where.first != dlpack::kCpu) {
    reader = py::int_(stream == nullptr ? 1 : reinterpret_cast<std::uintptr_t>(stream));
  }
  if (where.first == cuda::array_device()) {
    // Unused, it lets go of the array when it goes away itself.
    b->kept = array.attr("__dlpack__")(py::arg("stream") = reader);
    auto* managed =
        static_cast<dlpack::Managed*>(PyCapsule_GetPointer(b->kept.ptr(), "dltensor"));
    if (managed == nullptr) throw py::error_already_set();
    take_tensor(managed->tensor, device, b);
  } else {
    const dlpack::Tensor elsewhere = {
        nullptr, {where.first, where.second}, 0, {}, nullptr, nullptr, 0};
    take_tensor(elsewhere, device, b);
  }
  return true;
}

// The array, to be used on `stream` where that is given.
Borrowed borrow(const char* name, const py::handle& array, int device, void* stream,
                const py::object& stream_of) {
  Borrowed b;
  b.name = name;
  b.array = py::reinterpret_borrow<py::object>(array);
  if (py::isinstance<py::array>(array)) {
    throw py::type_error(b.name +
                         ": expected an array on cuda:" + std::to_string(device) +
                         ", got one of NumPy, which lies in the memory of the CPU; "
                         "compile with device=\"cpu\" for it");
  }
  if (borrow_by_exchange(array, device, &b) ||
      borrow_by_interface(array, device, stream_of, &b) ||
      borrow_by_capsule(array, device, stream, &b)) {
    return b;
  }
  throw py::type_error(b.name + ": expected an array of torch, CuPy, JAX, Warp or " +
                       "another library with DLPack, got " + type_name(array));
}

}  // namespace
