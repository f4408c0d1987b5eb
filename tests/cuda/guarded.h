// Memory that ends at a page that nobody may touch.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

class Guarded {
 public:
  explicit Guarded(std::size_t bytes) : bytes_(bytes) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    size_ = (bytes / page + 2) * page;
    base_ = static_cast<char*>(mmap(nullptr, size_, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED || mprotect(base_ + size_ - page, page, PROT_NONE) != 0) {
      std::perror("mmap");
      std::exit(2);
    }
    data_ = base_ + size_ - page - bytes;
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() { munmap(base_, size_); }

  // All of it becomes a number that shows: a signalling NaN.
  void poison() {
    constexpr std::uint32_t kSignalling = 0x7fa00000;
    for (std::size_t i = 0; i + sizeof kSignalling <= bytes_; i += sizeof kSignalling) {
      std::memcpy(data_ + i, &kSignalling, sizeof kSignalling);
    }
  }
  char* data() { return data_; }

 private:
  std::size_t bytes_;
  std::size_t size_ = 0;
  char* base_ = nullptr;
  char* data_ = nullptr;
};
