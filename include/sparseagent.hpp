// Pruned policies in C++: sparseagent.h, with an owner and exceptions.
#ifndef SPARSEAGENT_HPP
#define SPARSEAGENT_HPP

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "sparseagent.h"

namespace sparseagent {

// What a call could not do, and why.
class Error : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A policy of a file, packed for this machine. Movable; may be used by many threads at
// once.
class Policy {
 public:
  explicit Policy(const std::string& path, const sparseagent_options& options = {}) {
    char error[kErrorSize];
    policy_.reset(sparseagent_load(path.c_str(), &options, error, sizeof error));
    if (!policy_) throw Error(error);
  }

  Policy(const void* data, std::size_t size, const sparseagent_options& options = {}) {
    char error[kErrorSize];
    policy_.reset(sparseagent_load_bytes(data, size, &options, error, sizeof error));
    if (!policy_) throw Error(error);
  }

  std::int32_t inputs() const { return sparseagent_inputs(get()); }
  std::int32_t outputs() const { return sparseagent_outputs(get()); }
  std::int64_t input_size(std::int32_t input = 0) const {
    return sparseagent_input_size(get(), input);
  }
  std::int64_t output_size(std::int32_t output = 0) const {
    return sparseagent_output_size(get(), output);
  }
  std::string input_name(std::int32_t input) const {
    return text(sparseagent_input_name(get(), input));
  }
  std::string output_name(std::int32_t output) const {
    return text(sparseagent_output_name(get(), output));
  }
  bool is_discrete() const { return sparseagent_is_discrete(get()) != 0; }
  std::int64_t action_size() const { return sparseagent_action_size(get()); }

  // Memory for calls from this thread, if it is not the one that loaded the policy.
  void prepare() const {
    char error[kErrorSize];
    check(sparseagent_prepare(get(), error, sizeof error), error);
  }

  // observations [batch, input size] -> output [batch, output size], before the head.
  void forward(const float* observations, float* output, std::int64_t batch = 1) const {
    char error[kErrorSize];
    check(sparseagent_forward(get(), observations, batch, output, error, sizeof error),
          error);
  }

  // All inputs, in their order, to the first outputs.
  void forward(const std::vector<sparseagent_array>& given,
               const std::vector<float*>& outputs, std::int64_t batch = 1) const {
    char error[kErrorSize];
    expect_all(given);
    check(sparseagent_forward_all(get(), given.data(), batch, outputs.data(),
                                  static_cast<std::int32_t>(outputs.size()), error,
                                  sizeof error),
          error);
  }

  // observations [batch, input size] -> actions: int64 [batch] where they are discrete,
  // else float [batch, action size].
  void act(const float* observations, float* actions, std::int64_t batch = 1) const {
    if (is_discrete()) throw Error("actions: expected int64, for they are discrete");
    act_one(observations, actions, batch);
  }
  void act(const float* observations, std::int64_t* actions,
           std::int64_t batch = 1) const {
    if (!is_discrete())
      throw Error("actions: expected float, for they are not discrete");
    act_one(observations, actions, batch);
  }

  // All inputs, in their order, to actions.
  void act(const std::vector<sparseagent_array>& given, void* actions,
           std::int64_t batch = 1) const {
    char error[kErrorSize];
    expect_all(given);
    check(sparseagent_act(get(), given.data(), batch, actions, error, sizeof error),
          error);
  }

  const sparseagent_policy* get() const { return policy_.get(); }

 private:
  static constexpr std::size_t kErrorSize = 512;

  struct Free {
    void operator()(sparseagent_policy* policy) const { sparseagent_free(policy); }
  };

  static void check(std::int32_t code, const char* error) {
    if (code != 0) throw Error(error);
  }

  static std::string text(const char* name) { return name != nullptr ? name : ""; }

  void act_one(const float* observations, void* actions, std::int64_t batch) const {
    char error[kErrorSize];
    if (inputs() != 1) throw Error("observations: the policy has several inputs");
    const sparseagent_array given = {observations, SPARSEAGENT_FLOAT32};
    check(sparseagent_act(get(), &given, batch, actions, error, sizeof error), error);
  }

  void expect_all(const std::vector<sparseagent_array>& given) const {
    if (given.size() != static_cast<std::size_t>(inputs())) {
      throw Error("inputs: expected " + std::to_string(inputs()) + " arrays, got " +
                  std::to_string(given.size()));
    }
  }

  std::unique_ptr<sparseagent_policy, Free> policy_;
};

}  // namespace sparseagent

#endif
