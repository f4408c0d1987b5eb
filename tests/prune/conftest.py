import itertools

import pytest
import torch
from torch import nn

from sparseagent.prune import Layer

# The modules beside the tests that assert, too: a failure then shows its values.
pytest.register_assert_rewrite("sparsified", "sb3_runs")


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def make_net():
    """A factory of small chains of Linear layers, the same weights for the same seed."""

    def make(*widths, seed=0, activation=nn.Tanh):
        torch.manual_seed(seed)
        layers = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), activation()]
        return nn.Sequential(*layers[:-1])

    return make


@pytest.fixture
def layer_of():
    """A factory of one layer with given weights."""

    def make(weight, name="weight"):
        values = torch.as_tensor(weight, dtype=torch.float32)
        linear = nn.Linear(values.shape[1], values.shape[0])
        with torch.no_grad():
            linear.weight.copy_(values)
        return Layer(name, linear)

    return make
