// Exactness without Python: every ISA of this build, every format, batches 1 to 70, 1
// and 3 threads, against the scalar reference, bit for bit, with inputs and outputs
// that end at a guard page, and every other batch in a host's floating-point mode.
//
// Prints one digest of the reference outputs. It must be the same on every machine: the
// build for AArch64, run under qemu, is compared with the native one.
#include <fenv.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/cpu.h"
#include "core/plan.h"
#include "core/reference.h"
#include "heads.h"

using namespace sparseagent;

namespace {

// Random numbers that are the same everywhere.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 2 + 1) {}
  std::uint32_t bits() {
    state_ = state_ * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<std::uint32_t>(state_ >> 33);
  }
  int below(int n) { return static_cast<int>(bits() % static_cast<std::uint32_t>(n)); }
  float uniform() { return static_cast<float>(bits() & 0xffffff) * 0x1p-23f - 1.0f; }

 private:
  std::uint64_t state_;
};

// Floats whose last byte is the last of a page that may be touched.
class Guarded {
 public:
  explicit Guarded(std::size_t count) : bytes_(count * sizeof(float)) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    size_ = (bytes_ / page + 2) * page;
    base_ = static_cast<char*>(mmap(nullptr, size_, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED || mprotect(base_ + size_ - page, page, PROT_NONE) != 0) {
      std::perror("mmap");
      std::exit(2);
    }
    data_ = reinterpret_cast<float*>(base_ + size_ - page - bytes_);
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() { munmap(base_, size_); }
  float* data() { return data_; }

 private:
  std::size_t bytes_;
  std::size_t size_;
  char* base_;
  float* data_;
};

struct Layer {
  std::vector<std::int32_t> indptr;
  std::vector<std::int32_t> indices;
  std::vector<float> values;
  std::vector<float> bias;
  int out;
  int in;
  int runs;
  Activation activation;
  float alpha;
  Window window = {};  // of a convolution; else without channels

  bool slides() const { return window.channels > 0; }
  LayerView view() const {
    return {out,
            in,
            runs,
            indptr.data(),
            indices.data(),
            values.data(),
            bias.data(),
            activation,
            alpha,
            slides() ? &window : nullptr};
  }
};

// `shuffle` stores the entries in a random order, `runs` cuts rows into random runs,
// `block` neighbouring rows have the same columns in the same order.
Layer random_layer(Random& random, int in, int out, int density_percent, bool shuffle,
                   int runs, int block) {
  Layer layer;
  layer.in = in;
  layer.out = out;
  layer.runs = runs;
  layer.activation = static_cast<Activation>(random.below(kActivationCount));
  layer.alpha = 0.25f;
  layer.indptr.push_back(0);
  std::vector<std::int32_t> columns;
  for (int r = 0; r < out; ++r) {
    if (r % block == 0) columns.clear();
    for (int c = 0; r % block == 0 && c < in; ++c) {
      if (random.below(100) < density_percent) columns.push_back(c);
    }
    for (std::size_t i = columns.size(); r % block == 0 && shuffle && i > 1; --i) {
      std::swap(columns[i - 1],
                columns[static_cast<std::size_t>(random.below(static_cast<int>(i)))]);
    }
    std::size_t taken = 0;
    for (int s = 0; s < runs; ++s) {
      const auto left = static_cast<int>(columns.size() - taken);
      taken += static_cast<std::size_t>(s + 1 == runs ? left : random.below(left + 1));
      layer.indptr.push_back(layer.indptr[static_cast<std::size_t>(r * runs)] +
                             static_cast<std::int32_t>(taken));
    }
    for (const std::int32_t c : columns) {
      layer.indices.push_back(c);
      layer.values.push_back(random.uniform());
    }
    layer.bias.push_back(random.below(4) == 0 ? -0.0f : random.uniform());
  }
  return layer;
}

// An image of up to 12 x 12 pixels, and a kernel that slides over it.
Window random_window(Random& random) {
  Window w = {};
  w.channels = 1 + random.below(4);
  std::int32_t extent[2];
  for (int i = 0; i < 2; ++i) {
    extent[i] = 1 + random.below(12);
    w.kernel[i] = 1 + random.below(extent[i] < 4 ? extent[i] : 4);
    w.stride[i] = 1 + random.below(4);
    w.dilation[i] = extent[i] >= 2 * w.kernel[i] ? 1 + random.below(2) : 1;
    if (random.below(2) == 0) continue;
    w.padding[i] = random.below(w.kernel[i]);
    w.padding[i + 2] = random.below(w.kernel[i]);
  }
  w.height = extent[0];
  w.width = extent[1];
  w.channels_last = random.below(3) == 0;
  return w;
}

struct Case {
  std::vector<Layer> layers;

  std::vector<LayerView> views() const {
    std::vector<LayerView> all;
    for (const Layer& layer : layers) all.push_back(layer.view());
    return all;
  }
};

Case random_case(Random& random) {
  const int densities[] = {0, 2, 10, 30, 60, 100};
  Case net;
  const bool plain = random.below(3) != 0;  // ascending: dense kernels can follow
  const int blocks[] = {1, 1, 4, 16};
  const int depth = 1 + random.below(3);
  int in = 1 + random.below(random.below(4) == 0 ? 600 : 70);
  if (random.below(3) == 0) {  // a convolution stands before them
    const Window window = random_window(random);
    const int out = 1 + random.below(9);
    const int density = densities[random.below(6)];
    net.layers.push_back(random_layer(random, window.taps(), out, density, !plain, 1,
                                      blocks[random.below(3)]));
    net.layers.back().window = window;
    in = out * window.pixels();
  }
  for (int i = 0; i < depth; ++i) {
    const int out = 1 + random.below(random.below(4) == 0 ? 300 : 50);
    const int block = blocks[random.below(4)];
    const int runs = plain || block > 1 ? 1 : 1 + random.below(6);
    net.layers.push_back(
        random_layer(random, in, out, densities[random.below(6)], !plain, runs, block));
    in = out;
  }
  return net;
}

// Mostly ordinary numbers; some zeros, denormals, huge ones, Inf and NaN.
float random_input(Random& random, bool wild) {
  switch (wild ? random.below(40) : 39) {
    case 0: return 0.0f;
    case 1: return -0.0f;
    case 2: return 0x1p-140f * random.uniform();
    case 3: return 0x1p120f * random.uniform();
    case 4: return random.below(8) == 0 ? INFINITY : 1.0f;
    case 5: return random.below(8) == 0 ? NAN : -1.0f;
    default: return random.uniform();
  }
}

// Of its observations, and of its outputs.
int features_of(const Case& net) { return net.layers.front().view().features(); }

int outputs_of(const Case& net) {
  const LayerView last = net.layers.back().view();
  return last.sums() / last.runs;
}

std::vector<float> reference(const Case& net, const std::vector<float>& rows,
                             int batch) {
  std::vector<float> outputs;
  for (int b = 0; b < batch; ++b) {
    const auto in = static_cast<std::size_t>(features_of(net));
    std::vector<float> x(rows.begin() + static_cast<long>(in) * b,
                         rows.begin() + static_cast<long>(in) * (b + 1));
    for (const Layer& layer : net.layers) {
      const LayerView view = layer.view();
      std::vector<float> y(static_cast<std::size_t>(view.sums() / view.runs));
      std::vector<float> chains(static_cast<std::size_t>(layer.runs));
      layer.slides() ? reference_window(view, x.data(), y.data())
                     : reference_layer(view, x.data(), y.data(), chains.data());
      x = y;
    }
    for (const float v : x) outputs.push_back(v != v ? __builtin_nanf("") : v);
  }
  return outputs;
}

std::uint64_t digest(std::uint64_t hash, const std::vector<float>& values) {
  for (const float value : values) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    hash = (hash ^ bits) * 1099511628211ull;  // FNV-1a over words
  }
  return hash;
}

// Whether every layer of the kernel's kind can be run by it on the paths that it has.
bool follows(const Kernel& kernel, const Case& net) {
  bool any = false;
  for (const Path path : {Path::one, Path::tile}) {
    for (const Layer& layer : net.layers) {
      if (!has_path(kernel, path)) break;
      if (layer.slides() != kernel.slides) continue;
      if (kernel.packed_bytes(layer.view(), path) == 0) return false;
      any = true;
    }
  }
  return any;
}

// The same of both kernels of a name: convolutions and other layers have their own.
bool all_follow(const Isa& isa, const char* format, const Case& net) {
  for (int k = 0; k < isa.kernel_count; ++k) {
    const Kernel& kernel = *isa.kernels[k];
    if (std::strcmp(kernel.format, format) == 0 && !follows(kernel, net)) return false;
  }
  return true;
}

bool any_slides(const Case& net) {
  for (const Layer& layer : net.layers) {
    if (layer.slides()) return true;
  }
  return false;
}

// Equal layers pack to equal bytes, whatever was in the memory before.
bool packs_alike(const Kernel& kernel, const Case& net) {
  for (const Layer& layer : net.layers) {
    if (layer.slides() != kernel.slides) continue;
    for (const Path path : {Path::one, Path::tile}) {
      if (!has_path(kernel, path)) continue;
      const std::size_t bytes = kernel.packed_bytes(layer.view(), path);
      Buffer a(bytes);
      Buffer b(bytes);
      std::memset(b.data(), 0xa5, bytes);
      kernel.pack(layer.view(), path, a.data());
      kernel.pack(layer.view(), path, b.data());
      if (std::memcmp(a.data(), b.data(), bytes) != 0) {
        std::printf("FAILED: format %s, %d lanes packs differently each time\n",
                    kernel.format, kernel.lanes);
        return false;
      }
    }
  }
  return true;
}

// Kernels that say so pack tiles into the bytes of the same format on the plainest ISA.
bool shares_tiles(const Kernel& kernel, const Case& net) {
  for (int k = 0; kernel.shares_tiles && k < kIsas[0].kernel_count; ++k) {
    const Kernel& plain = *kIsas[0].kernels[k];
    if (std::strcmp(plain.format, kernel.format) != 0) continue;
    for (const Layer& layer : net.layers) {
      if (layer.slides()) continue;
      const std::size_t bytes = kernel.packed_bytes(layer.view(), Path::tile);
      Buffer a(bytes);
      Buffer b(plain.packed_bytes(layer.view(), Path::tile));
      kernel.pack(layer.view(), Path::tile, a.data());
      plain.pack(layer.view(), Path::tile, b.data());
      if (a.bytes() != b.bytes() || std::memcmp(a.data(), b.data(), bytes) != 0) {
        std::printf("FAILED: format %s, %d lanes does not share its tiles\n",
                    kernel.format, kernel.lanes);
        return false;
      }
    }
  }
  return true;
}

// An observation as it comes, then one layer after the other.
Program program_of(const Case& net) {
  Program program;
  const auto add_slot = [&](std::int32_t size) {
    program.slots.push_back(size);
    return Span{static_cast<std::int32_t>(program.slots.size()) - 1, 0, size};
  };
  Input input = {"observation", {features_of(net)}, {}};
  input.step.size = features_of(net);
  input.step.low = -INFINITY;
  input.step.high = INFINITY;
  program.inputs.push_back(input);
  Op observe;
  observe.kind = OpKind::observe;
  observe.write = add_slot(input.step.size);
  program.ops.push_back(observe);
  for (const LayerView& layer : net.views()) {
    Op op;
    op.kind = layer.window != nullptr ? OpKind::conv2d : OpKind::linear;
    op.reads = {program.ops.back().write};
    op.write = add_slot(layer.sums() / layer.runs);
    op.layer = layer;
    program.ops.push_back(op);
  }
  program.outputs.emplace_back("action", program.ops.back().write);
  return program;
}

// A host that rounds upwards and flushes denormals to zero.
class OtherMode {
 public:
  explicit OtherMode(bool on) {
    fegetenv(&before_);
    if (!on) return;
    fenv_t mode = before_;
#if defined(__x86_64__)
    mode.__mxcsr |= 0xc040;
#elif defined(__aarch64__)
    mode.__fpcr |= 0x1400000;
#endif
    fesetenv(&mode);
  }
  ~OtherMode() { fesetenv(&before_); }

 private:
  fenv_t before_;
};

bool run(const Case& net, const Isa& isa, const char* format, int threads,
         const std::vector<float>& rows, const std::vector<float>& expected, int most) {
  const Plan plan(program_of(net), {isa.name, format, threads, 0});
  const auto in = static_cast<std::size_t>(plan.input_size());
  const auto out = static_cast<std::size_t>(plan.output_size());
  for (int batch = 1; batch <= most; ++batch) {
    const auto count = static_cast<std::size_t>(batch);
    Guarded x(count * in);
    Guarded y(count * out);
    std::memcpy(x.data(), rows.data(), count * in * sizeof(float));
    {
      const OtherMode mode(batch % 2 == 0);
      plan.forward({x.data(), DType::float32}, batch, y.data());
    }
    if (std::memcmp(y.data(), expected.data(), count * out * sizeof(float)) != 0) {
      std::printf("FAILED: isa %s, format %s, threads %d, batch %d\n", isa.name, format,
                  threads, batch);
      return false;
    }
  }
  return true;
}

// The kernels of an ISA by themselves: a plan takes a faster one of the same name.
bool walks(const Case& net, const Isa& isa, const Kernel& kernel,
           const std::vector<float>& rows, const std::vector<float>& expected) {
  const Layout layout(program_of(net), regimes_of(isa));
  for (const Regime& regime : layout.regimes()) {
    if (!has_path(kernel, regime.path)) continue;
    std::vector<std::unique_ptr<PackedLayer>> packed;
    Layers layers;
    for (const LayerView& view : net.views()) {
      packed.push_back(std::make_unique<PackedLayer>(kernel, view, regime.path));
      layers.push_back(packed.back().get());
    }
    const std::size_t floats = static_cast<std::size_t>(regime.columns) *
                               static_cast<std::size_t>(outputs_of(net));
    Guarded y(floats);
    Buffer workspace(sizeof(float) * layout.floats());
    const float* inputs = rows.data();
    float* outputs = y.data();
    const Walk walk(layout, regime, layers);
    walk.run({regime.columns, &inputs, &outputs, 1, workspace.floats()});
    if (std::memcmp(y.data(), expected.data(), floats * sizeof(float)) != 0) {
      std::printf("FAILED: isa %s by itself, format %s, %s\n", isa.name, kernel.format,
                  regime.name().c_str());
      return false;
    }
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  const int cases = argc > 1 ? std::atoi(argv[1]) : 100;
  const int most = 70;
  std::uint64_t hash = 14695981039346656037ull;
  long passed = 0;
  long failed = 0;
  std::map<std::string, long> runs_of_format;
  for (int number = 0; number < cases; ++number) {
    Random random(static_cast<std::uint64_t>(number));
    const Case net = random_case(random);
    const bool wild = number % 2 == 1;
    std::vector<float> rows(static_cast<std::size_t>(most) *
                            static_cast<std::size_t>(features_of(net)));
    for (float& value : rows) value = random_input(random, wild);
    const std::vector<float> expected = reference(net, rows, most);
    hash = digest(hash, expected);
    for (int i = 0; i < kIsaCount; ++i) {
      if (!cpu_has(kIsas[i].needs)) continue;
      const bool plain = i + 1 < kIsaCount &&
                         std::strcmp(kIsas[i].name, kIsas[i + 1].name) == 0 &&
                         cpu_has(kIsas[i + 1].needs);
      std::vector<const char*> formats = {""};
      for (int k = 0; k < kIsas[i].kernel_count; ++k) {
        const Kernel& kernel = *kIsas[i].kernels[k];
        if (!follows(kernel, net)) continue;
        if (all_follow(kIsas[i], kernel.format, net)) formats.push_back(kernel.format);
        if (plain && !kernel.slides && !any_slides(net))
          walks(net, kIsas[i], kernel, rows, expected) ? ++passed : ++failed;
        packs_alike(kernel, net) && shares_tiles(kernel, net) ? ++passed : ++failed;
      }
      for (const char* format : plain ? std::vector<const char*>() : formats) {
        runs_of_format[format[0] == 0 ? "auto" : format] += 1;
        for (const int threads : {1, 3}) {
          run(net, kIsas[i], format, threads, rows, expected, most) ? ++passed
                                                                    : ++failed;
        }
      }
    }
  }
  const HeadResults heads = check_heads(cases, hash);
  hash = heads.digest;
  passed += heads.passed;
  failed += heads.failed;
  for (const auto& [format, runs] : runs_of_format) {
    std::printf("%s: %ld nets x 2 thread counts\n", format.c_str(), runs);
  }
  std::printf("isas:");
  for (int i = 0; i < kIsaCount; ++i) {
    std::printf(" %s%s", kIsas[i].name,
                cpu_has(kIsas[i].needs) ? "" : " (not on this machine)");
  }
  std::printf("\ndigest: %016llx\n%ld passed, %ld failed\n",
              static_cast<unsigned long long>(hash), passed, failed);
  return failed == 0 ? 0 : 1;
}
