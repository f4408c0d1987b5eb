// Results: in the library of the caller, or memory of our own that any library can
// take. Part of bind_cuda.cpp, which alone includes it.
#pragma once

#include <memory>

#include "bind_device.h"

namespace {

// Memory of the device in the order of a stream, as DLPack and the interface of CUDA
// arrays hand it out. C-contiguous.
class DeviceArray {
 public:
  DeviceArray(std::vector<std::int64_t> shape, bool whole, int device, void* stream)
      : shape_(std::move(shape)), whole_(whole), device_(device), stream_(stream) {
    std::int64_t size = whole ? 8 : 4;
    for (const std::int64_t axis : shape_) size *= axis;
    const cuda::Current current(device);
    data_ = cuda::take(static_cast<std::size_t>(size), stream);
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  ~DeviceArray() { cuda::give_back(data_, device_, stream_); }

  void* data() const { return data_; }
  void* stream() const { return stream_; }
  int device() const { return device_; }
  const std::vector<std::int64_t>& shape() const { return shape_; }
  bool whole() const { return whole_; }

  py::dict interface() const {
    py::dict facts;
    py::tuple axes(shape_.size());
    for (std::size_t i = 0; i < shape_.size(); ++i) axes[i] = shape_[i];
    facts["shape"] = axes;
    facts["typestr"] = whole_ ? "<i8" : "<f4";
    facts["data"] = py::make_tuple(reinterpret_cast<std::uintptr_t>(data_), false);
    facts["strides"] = py::none();
    facts["version"] = 3;
    // 0 is not allowed; 1 is the legacy default stream.
    facts["stream"] =
        stream_ == nullptr ? 1 : reinterpret_cast<std::uintptr_t>(stream_);
    return facts;
  }

 private:
  std::vector<std::int64_t> shape_;
  bool whole_;  // int64, not float32
  int device_;
  void* stream_;
  void* data_ = nullptr;
};

using SharedArray = std::shared_ptr<DeviceArray>;

// What a DLPack capsule of a DeviceArray holds on to.
struct Export {
  dlpack::Managed managed;
  SharedArray array;
  std::vector<std::int64_t> shape;

  explicit Export(SharedArray of) : array(std::move(of)), shape(array->shape()) {
    const auto code = array->whole() ? dlpack::kInt : dlpack::kFloat;
    const auto bits = static_cast<std::uint8_t>(array->whole() ? 64 : 32);
    managed.tensor = {array->data(),
                      {cuda::array_device(), array->device()},
                      static_cast<std::int32_t>(shape.size()),
                      {code, bits, 1},
                      shape.data(),
                      nullptr,
                      0};
    managed.context = this;
    managed.deleter = [](dlpack::Managed* m) {
      delete static_cast<Export*>(m->context);
    };
  }
};

py::object capsule_of(const SharedArray& array, const py::object& stream) {
  if (cuda::array_device() != dlpack::kCpu) {
    const auto reader = stream.is_none() ? 1 : stream.cast<std::intptr_t>();
    if (reader != -1) {  // the reader sees to it itself
      const cuda::Current current(array->device());
      cuda::wait_for(reader == 1 ? nullptr : reinterpret_cast<void*>(reader),
                     array->stream());
    }
  }
  auto made = std::make_unique<Export>(array);
  PyObject* capsule = PyCapsule_New(&made->managed, "dltensor", [](PyObject* c) {
    if (PyCapsule_IsValid(c, "dltensor") == 0) return;  // somebody took it over
    auto* managed = static_cast<dlpack::Managed*>(PyCapsule_GetPointer(c, "dltensor"));
    managed->deleter(managed);
  });
  if (capsule == nullptr) throw py::error_already_set();
  made.release();
  return py::reinterpret_steal<py::object>(capsule);
}

// A new array for a result: where it lies, and how the caller gets it.
class Result {
 public:
  Result(const Borrowed& like, std::vector<std::int64_t> shape, bool whole, int device,
         void* stream) {
    if (like.exchange == nullptr) {
      own_ = std::make_shared<DeviceArray>(std::move(shape), whole, device, stream);
      return;
    }
    const auto bits = static_cast<std::uint8_t>(whole ? 64 : 32);
    dlpack::Tensor prototype = {nullptr,
                                {cuda::array_device(), device},
                                static_cast<std::int32_t>(shape.size()),
                                {whole ? dlpack::kInt : dlpack::kFloat, bits, 1},
                                shape.data(),
                                nullptr,
                                0};
    exchange_ = like.exchange;
    std::string error;
    const auto note = [](void* context, const char*, const char* text) {
      *static_cast<std::string*>(context) = text;
    };
    if (exchange_->allocate(&prototype, &theirs_, &error, note) != 0) {
      PyErr_Clear();
      throw std::runtime_error("no memory for the result: " + error);
    }
  }
  Result(const Result&) = delete;
  Result& operator=(const Result&) = delete;
  ~Result() {
    if (theirs_ != nullptr && theirs_->deleter != nullptr) theirs_->deleter(theirs_);
  }

  void* data() const {
    if (own_) return own_->data();
    return static_cast<char*>(theirs_->tensor.data) + theirs_->tensor.byte_offset;
  }

  // Once only. `in_library` makes of an array of ours one of the caller's library.
  py::object take(const py::object& in_library, const py::handle& like) {
    if (own_) return in_library(py::cast(own_), like);
    void* object = nullptr;
    if (exchange_->object_from_managed(theirs_, &object) != 0) {
      throw py::error_already_set();
    }
    theirs_ = nullptr;
    return py::reinterpret_steal<py::object>(static_cast<PyObject*>(object));
  }

 private:
  SharedArray own_;
  const dlpack::Exchange* exchange_ = nullptr;
  dlpack::Versioned* theirs_ = nullptr;
};

}  // namespace
