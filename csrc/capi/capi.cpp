// The C API: the plan behind an opaque handle. Every exception ends here, as a text.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/act.h"
#include "core/buffer.h"
#include "core/float_mode.h"
#include "core/plan.h"
#include "policy/read.h"
#include "sparseagent.h"

struct sparseagent_policy {
  sparseagent::Plan plan;
};

namespace {

using sparseagent::DType;
using sparseagent::Input;
using sparseagent::Observations;
using sparseagent::Plan;

constexpr double kTuneMs = 30;

void say(char* error, std::size_t size, const char* text) {
  if (error != nullptr && size > 0) std::snprintf(error, size, "%s", text);
}

// What `work` returns, or `failed` and the reason.
template <typename Result, typename Work>
Result guarded(char* error, std::size_t size, Result failed, const Work& work) {
  say(error, size, "");
  try {
    return work();
  } catch (const std::bad_alloc&) {
    say(error, size, "out of memory");
  } catch (const std::exception& problem) {
    say(error, size, problem.what());
  } catch (...) {
    say(error, size, "unknown error");
  }
  return failed;
}

void expect(bool holds, const char* text) {
  if (!holds) throw std::invalid_argument(text);
}

// The caller's inputs from row `first` on.
void from(const Plan& plan, const sparseagent_array* arrays, std::int64_t first,
          Observations* inputs) {
  for (const Input& input : plan.program().inputs) {
    const auto dtype = static_cast<DType>(arrays->dtype);
    const std::int64_t bytes = first * input.step.size * sparseagent::bytes_of(dtype);
    *inputs++ = {static_cast<const char*>(arrays->data) + bytes, dtype};
    ++arrays;
  }
}

void check_inputs(const Plan& plan, const sparseagent_array* arrays,
                  std::int64_t batch) {
  expect(batch >= 0, "batch: expected 0 or more");
  expect(arrays != nullptr, "inputs: expected an array, got null");
  for (std::size_t k = 0; k < plan.program().inputs.size(); ++k) {
    expect(arrays[k].data != nullptr || batch == 0, "inputs: expected data, got null");
    expect(arrays[k].dtype >= 0 && arrays[k].dtype <= SPARSEAGENT_BOOL,
           "inputs: expected a dtype of sparseagent.h");
  }
}

std::int32_t widest_input(const Plan& plan) {
  std::int32_t widest = 1;
  for (const Input& input : plan.program().inputs) {
    widest = std::max(widest, input.step.size);
  }
  return widest;
}

// Observations that become discrete actions at a time: the plan keeps their outputs,
// and `prepare` has made room for so many.
std::int64_t rows_of(const Plan& plan) {
  constexpr std::int64_t kMostFloats = 1 << 18;
  return std::clamp<std::int64_t>(kMostFloats / widest_input(plan), 1, 64);
}

void act(const Plan& plan, const sparseagent_array* arrays, std::int64_t batch,
         void* actions) {
  const sparseagent::Head& head = plan.program().head;
  const std::int64_t most = head.discrete() ? rows_of(plan) : batch;
  const std::int64_t bytes =
      head.actions *
      static_cast<std::int64_t>(head.discrete() ? sizeof(std::int64_t) : sizeof(float));
  Observations inputs[sparseagent::kMostInputs];
  sparseagent::Acting call;
  call.inputs = inputs;
  for (std::int64_t first = 0; first < batch; first += most) {
    from(plan, arrays, first, inputs);
    call.actions = static_cast<char*>(actions) + first * bytes;
    plan.act(call, std::min(most, batch - first));
  }
}

// One call, whose actions nobody reads, of zeros.
void prepare(const Plan& plan) {
  const std::int64_t rows = rows_of(plan);
  const std::vector<float> zeros(static_cast<std::size_t>(rows * widest_input(plan)));
  const std::vector<sparseagent_array> arrays(plan.program().inputs.size(),
                                              {zeros.data(), SPARSEAGENT_FLOAT32});
  std::vector<std::int64_t> actions(
      static_cast<std::size_t>(rows * plan.program().head.actions));
  act(plan, arrays.data(), rows, actions.data());
}

sparseagent_policy* loaded(const void* data, std::size_t size,
                           const sparseagent_options* given) {
  const sparseagent_options none = {nullptr, 0, 0};
  const sparseagent_options& asked = given != nullptr ? *given : none;
  expect(asked.threads >= 0, "threads: expected 1 or more, or 0 for 1");
  Plan::Options options;
  options.isa = asked.isa != nullptr ? asked.isa : "";
  options.threads = std::max(1, asked.threads);
  options.tune_ms = asked.tune_ms == 0 ? kTuneMs : std::max(0.0, asked.tune_ms);
  std::unique_ptr<sparseagent_policy> policy(
      new sparseagent_policy{Plan(sparseagent::read_policy(data, size), options)});
  prepare(policy->plan);
  return policy.release();
}

// A file's content. Not by streams: they are most of the C++ library.
std::vector<char> content(const char* path) {
  expect(path != nullptr, "path: expected a text, got null");
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path, "rb"),
                                                             &std::fclose);
  if (file == nullptr) {
    throw std::runtime_error(std::string(path) + ": " + std::strerror(errno));
  }
  std::vector<char> bytes;
  char part[1 << 14];
  while (const std::size_t count = std::fread(part, 1, sizeof part, file.get())) {
    bytes.insert(bytes.end(), part, part + count);
  }
  if (std::ferror(file.get())) {
    throw std::runtime_error(std::string(path) + ": cannot be read");
  }
  return bytes;
}

const Input* input_of(const sparseagent_policy* policy, std::int32_t number) {
  if (policy == nullptr) return nullptr;
  const auto& inputs = policy->plan.program().inputs;
  const auto at = static_cast<std::size_t>(number);
  return number >= 0 && at < inputs.size() ? &inputs[at] : nullptr;
}

const std::pair<std::string, sparseagent::Span>* output_of(
    const sparseagent_policy* policy, std::int32_t number) {
  if (policy == nullptr) return nullptr;
  const auto& outputs = policy->plan.program().outputs;
  const auto at = static_cast<std::size_t>(number);
  return number >= 0 && at < outputs.size() ? &outputs[at] : nullptr;
}

}  // namespace

extern "C" {

const char* sparseagent_version() { return SPARSEAGENT_VERSION; }

sparseagent_policy* sparseagent_load(const char* path,
                                     const sparseagent_options* options, char* error,
                                     std::size_t error_size) {
  return guarded(error, error_size, static_cast<sparseagent_policy*>(nullptr), [&] {
    const std::vector<char> bytes = content(path);
    return loaded(bytes.data(), bytes.size(), options);
  });
}

sparseagent_policy* sparseagent_load_bytes(const void* data, std::size_t size,
                                           const sparseagent_options* options,
                                           char* error, std::size_t error_size) {
  return guarded(error, error_size, static_cast<sparseagent_policy*>(nullptr), [&] {
    expect(data != nullptr || size == 0, "data: expected bytes, got null");
    return loaded(data, size, options);
  });
}

void sparseagent_free(sparseagent_policy* policy) { delete policy; }

std::int32_t sparseagent_inputs(const sparseagent_policy* policy) {
  return policy == nullptr
             ? 0
             : static_cast<std::int32_t>(policy->plan.program().inputs.size());
}

const char* sparseagent_input_name(const sparseagent_policy* policy,
                                   std::int32_t input) {
  const Input* found = input_of(policy, input);
  return found != nullptr ? found->name.c_str() : nullptr;
}

std::int64_t sparseagent_input_size(const sparseagent_policy* policy,
                                    std::int32_t input) {
  const Input* found = input_of(policy, input);
  return found != nullptr ? found->step.size : 0;
}

std::int32_t sparseagent_outputs(const sparseagent_policy* policy) {
  return policy == nullptr
             ? 0
             : static_cast<std::int32_t>(policy->plan.program().outputs.size());
}

const char* sparseagent_output_name(const sparseagent_policy* policy,
                                    std::int32_t output) {
  const auto* found = output_of(policy, output);
  return found != nullptr ? found->first.c_str() : nullptr;
}

std::int64_t sparseagent_output_size(const sparseagent_policy* policy,
                                     std::int32_t output) {
  const auto* found = output_of(policy, output);
  return found != nullptr ? found->second.size : 0;
}

std::int32_t sparseagent_is_discrete(const sparseagent_policy* policy) {
  return policy != nullptr && policy->plan.program().head.discrete();
}

std::int64_t sparseagent_action_size(const sparseagent_policy* policy) {
  if (policy == nullptr) return 0;
  const sparseagent::Head& head = policy->plan.program().head;
  return head.discrete() ? head.actions : policy->plan.output_size();
}

std::int32_t sparseagent_prepare(const sparseagent_policy* policy, char* error,
                                 std::size_t error_size) {
  return guarded(error, error_size, 1, [&] {
    expect(policy != nullptr, "policy: expected one, got null");
    prepare(policy->plan);
    return 0;
  });
}

std::int32_t sparseagent_forward(const sparseagent_policy* policy,
                                 const float* observations, std::int64_t batch,
                                 float* output, char* error, std::size_t error_size) {
  const sparseagent_array input = {observations, SPARSEAGENT_FLOAT32};
  return guarded(error, error_size, 1, [&] {
    expect(policy != nullptr, "policy: expected one, got null");
    expect(policy->plan.one_input(),
           "observations: the policy has several inputs; see sparseagent_forward_all");
    check_inputs(policy->plan, &input, batch);
    expect(output != nullptr || batch == 0, "output: expected room, got null");
    policy->plan.forward({observations, DType::float32}, batch, output);
    return 0;
  });
}

std::int32_t sparseagent_forward_all(const sparseagent_policy* policy,
                                     const sparseagent_array* inputs,
                                     std::int64_t batch, float* const* outputs,
                                     std::int32_t count, char* error,
                                     std::size_t error_size) {
  return guarded(error, error_size, 1, [&] {
    expect(policy != nullptr, "policy: expected one, got null");
    check_inputs(policy->plan, inputs, batch);
    expect(count >= 1 && count <= sparseagent_outputs(policy),
           "count: expected 1 to the number of outputs");
    expect(outputs != nullptr, "outputs: expected room, got null");
    for (std::int32_t k = 0; k < count; ++k) {
      expect(outputs[k] != nullptr || batch == 0, "outputs: expected room, got null");
    }
    Observations given[sparseagent::kMostInputs];
    from(policy->plan, inputs, 0, given);
    policy->plan.forward({given, outputs, static_cast<std::size_t>(count)}, batch);
    return 0;
  });
}

std::int32_t sparseagent_act(const sparseagent_policy* policy,
                             const sparseagent_array* inputs, std::int64_t batch,
                             void* actions, char* error, std::size_t error_size) {
  return guarded(error, error_size, 1, [&] {
    expect(policy != nullptr, "policy: expected one, got null");
    check_inputs(policy->plan, inputs, batch);
    expect(actions != nullptr || batch == 0, "actions: expected room, got null");
    act(policy->plan, inputs, batch, actions);
    return 0;
  });
}

}  // extern "C"
