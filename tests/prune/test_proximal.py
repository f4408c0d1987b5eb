"""Proximal penalties: thresholds by hand, and the inputs that they find."""

import pytest
import torch
from sb3_runs import ppo
from torch import nn

from sparseagent.prune import InputLasso, L1Penalty, ProximalL1, penalise
from sparseagent.prune.proximal import is_proximal

RELEVANT = (4, 17, 33)


def _net(weight):
    weight = torch.tensor(weight)
    net = nn.Sequential(nn.Linear(weight.shape[1], weight.shape[0]), nn.Linear(weight.shape[0], 1))
    with torch.no_grad():
        net[0].weight.copy_(weight)
    return net


def test_soft_thresholds_by_hand():
    net = _net([[3.0, -0.5, 0.25], [-1.0, 0.0, -0.75]])
    second = net[1].weight.clone()
    ProximalL1(2.0).shrink(net, 0.25)  # a threshold of 0.5
    assert net[0].weight.tolist() == [[2.5, 0.0, 0.0], [-0.5, 0.0, -0.25]]
    assert torch.equal(net[1].weight, second)
    assert ProximalL1(2.0)(net).item() == L1Penalty(2.0, layers=["0"])(net).item() == 6.5


def test_whole_columns_are_shortened():
    # Norms 5, 1 and 0; the threshold is 0.5 * sqrt(4) = 1.
    net = _net([[3.0, 1.0, 0.0], [4.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert InputLasso(2.0)(net).item() == pytest.approx(2.0 * 2.0 * (5.0 + 1.0))
    InputLasso(2.0).shrink(net, 0.25)
    expected = torch.tensor([[2.4, 0.0, 0.0], [3.2, 0.0, 0.0], [0.0] * 3, [0.0] * 3])
    assert torch.allclose(net[0].weight, expected)
    assert net[0].weight[:, 1:].count_nonzero() == 0


@pytest.mark.parametrize("penalty", [InputLasso(0.3), ProximalL1(0.3)])
def test_shrinking_is_the_proximal_operator(penalty):
    torch.manual_seed(0)
    net = nn.Linear(5, 3)
    start, step = net.weight.detach().clone(), 0.2
    penalty.shrink(net, step)

    def objective(weight):
        with torch.no_grad():
            net.weight.copy_(weight)
        return step * penalty(net).item() + 0.5 * float((weight - start).square().sum())

    found = net.weight.detach().clone()
    best = objective(found)
    for _ in range(200):
        assert objective(found + 0.05 * torch.randn(3, 5)) > best
        assert objective(found * (1 + 0.1 * torch.randn(3, 5))) >= best - 1e-7


def test_exactly_the_relevant_inputs_stay():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(50, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    penalise(net, InputLasso(0.5), optimizer=optimizer)
    generator = torch.Generator().manual_seed(1)
    for _ in range(1000):
        x = torch.randn(64, 50, generator=generator)
        optimizer.zero_grad()
        nn.functional.mse_loss(net(x), x[:, RELEVANT].sum(1, keepdim=True)).backward()
        optimizer.step()
    used = net[0].weight.any(0).nonzero().flatten().tolist()
    assert tuple(used) == RELEVANT


def test_the_step_is_the_learning_rate_of_the_moment():
    net = _net([[3.0, 2.0]])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    hook = penalise(net, ProximalL1(1.0), optimizer=optimizer)
    optimizer.step()  # without gradients only the penalty acts
    assert net[0].weight.tolist() == [[2.5, 1.5]]
    optimizer.param_groups[0]["lr"] = 0.25
    optimizer.step()
    assert net[0].weight.tolist() == [[2.25, 1.25]]
    hook.remove()
    optimizer.step()
    assert net[0].weight.tolist() == [[2.25, 1.25]]


def test_only_the_actor_of_a_policy_is_shrunk():
    model = ppo()
    critic = model.policy.mlp_extractor.value_net[0].weight.clone()
    InputLasso(1e3).shrink(model.policy, 1.0)
    assert not model.policy.mlp_extractor.policy_net[0].weight.any()
    assert torch.equal(model.policy.mlp_extractor.value_net[0].weight, critic)


def test_refusals():
    net = nn.Linear(3, 1)
    groups = [{"params": [net.weight], "lr": 0.1}, {"params": [net.bias], "lr": 0.2}]
    optimizer = torch.optim.SGD(groups)
    penalise(net, InputLasso(1.0), optimizer=optimizer)
    with pytest.raises(ValueError, match=r"optimizer: expected one learning rate .* \[0.1, 0.2\]"):
        optimizer.step()
    with pytest.raises(ValueError, match="batch: expected None with a proximal penalty"):
        penalise(net, InputLasso(1.0), optimizer=optimizer, batch=lambda: None)
    for penalty in (InputLasso, ProximalL1):
        with pytest.raises(ValueError, match="strength"):
            penalty(-1.0)
    assert is_proximal(InputLasso(1.0))
    assert not is_proximal(L1Penalty(1.0))
