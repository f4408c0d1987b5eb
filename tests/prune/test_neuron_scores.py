"""Neuron scores on layers whose scores are known."""

import importlib
import inspect
import pkgutil

import pytest
import torch
from torch import nn

from sparseagent import prune
from sparseagent.prune import NeuronContribution, NeuronDormancy, NeuronL1, NeuronL2, NeuronTaylor
from sparseagent.prune.neuron_layers import find_neurons
from sparseagent.prune.neurons import look, record


@pytest.fixture
def net():
    """Two inputs, three relu neurons, two outputs."""
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[3.0, -4.0], [1.0, 1.0], [0.0, 0.0]]))
        net[0].bias.copy_(torch.tensor([0.0, 0.0, 2.0]))
        net[2].weight.copy_(torch.tensor([[1.0, -2.0, 1.0], [0.5, 0.0, -1.0]]))
        net[2].bias.zero_()
    return net


BATCH = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # activations: 3 1 2 and 0 1 2


def neurons(net, batch=BATCH):
    hidden = find_neurons(net)
    return look(hidden[0], record(net, hidden, batch)["0.weight"])


def test_activations_are_recorded_behind_the_activation(net):
    net.train()
    assert torch.equal(neurons(net).activations, torch.tensor([[3.0, 1.0, 2.0], [0.0, 1.0, 2.0]]))
    assert net.training
    assert net[0].training
    assert not net[2]._forward_pre_hooks


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (NeuronL1(), [7.0, 2.0, 0.0]),
        (NeuronL2(), [5.0, 2.0**0.5, 0.0]),
        (NeuronContribution(), [1.5 * 1.5, 1.0 * 2.0, 2.0 * 2.0]),
        (NeuronDormancy(), [1.0, 1.0 / 1.5, 2.0 / 1.5]),
    ],
)
def test_scores_by_hand(net, score, expected):
    torch.testing.assert_close(score.score(neurons(net)), torch.tensor(expected))


def test_dormancy_of_a_silent_layer_is_zero(net):
    silent = neurons(net, torch.zeros(4, 2))
    with torch.no_grad():
        net[0].bias.zero_()
    silent = neurons(net, torch.zeros(4, 2))
    assert torch.equal(NeuronDormancy().score(silent), torch.zeros(3))


def test_taylor_is_the_first_order_change_of_the_loss(net):
    target = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    gates = torch.ones(3, requires_grad=True)
    hidden = torch.relu(net[0](BATCH)) * gates
    nn.functional.mse_loss(net[2](hidden), target).backward()
    expected = gates.grad.abs()
    net.zero_grad()
    nn.functional.mse_loss(net(BATCH), target).backward()
    torch.testing.assert_close(NeuronTaylor().score(neurons(net)), expected)


def test_scores_say_what_they_lack(net):
    plain = look(find_neurons(net)[0], None)
    for score in (NeuronContribution(), NeuronDormancy()):
        with pytest.raises(ValueError, match="batch: expected inputs"):
            score.score(plain)
    with pytest.raises(ValueError, match=r"expected gradients in the layers that read .*0\.weight"):
        NeuronTaylor().score(plain)


def test_one_file_is_one_exported_class():
    package = importlib.import_module("sparseagent.prune.neuron")
    for _, name, _ in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{name}")
        classes = inspect.getmembers(module, inspect.isclass)
        own = [value for _, value in classes if value.__module__ == module.__name__]
        assert len(own) == 1
        assert getattr(prune, own[0].__name__) is own[0]
        assert callable(own[0].score)
