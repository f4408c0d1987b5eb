// forward POLICY: float rows on standard input, outputs and actions to standard output;
// first of all rows together, then of one after the other.
#include <cstdio>
#include <iostream>
#include <sparseagent.hpp>
#include <vector>

namespace {

template <typename T>
void put(const std::vector<T>& numbers) {
  std::fwrite(numbers.data(), sizeof(T), numbers.size(), stdout);
}

template <typename Action>
void run(const sparseagent::Policy& policy, const std::vector<float>& x) {
  const auto in = static_cast<std::size_t>(policy.input_size());
  const auto out = static_cast<std::size_t>(policy.output_size());
  const auto size = static_cast<std::size_t>(policy.action_size());
  const std::size_t batch = x.size() / in;
  std::vector<float> y(batch * out);
  std::vector<Action> actions(batch * size);
  policy.forward(x.data(), y.data(), static_cast<std::int64_t>(batch));
  policy.act(x.data(), actions.data(), static_cast<std::int64_t>(batch));
  put(y);
  put(actions);
  for (std::size_t b = 0; b < batch; ++b) {
    policy.forward(x.data() + b * in, y.data() + b * out);
    policy.act(x.data() + b * in, actions.data() + b * size);
  }
  put(y);
  put(actions);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    const sparseagent::Policy policy(argv[1]);
    std::vector<float> x;
    float number;
    while (std::fread(&number, sizeof number, 1, stdin) == 1) x.push_back(number);
    if (policy.is_discrete()) {
      run<std::int64_t>(policy, x);
    } else {
      run<float>(policy, x);
    }
  } catch (const sparseagent::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
