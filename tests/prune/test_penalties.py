"""Penalties against closed forms and finite differences, and their way into training."""

import importlib
import inspect
import math
import pkgutil

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_runs import Drift, dqn, off_policy, ppo, small
from stable_baselines3 import DQN, PPO, SAC
from torch import nn
from torch.nn.functional import logsigmoid

from sparseagent import prune
from sparseagent.agents import adapt
from sparseagent.prune import (
    ContributionPenalty,
    GroupLasso,
    Hidden,
    L1Penalty,
    L2Penalty,
    Magnitude,
    OneShot,
    Sparsifier,
    Top,
    penalise,
    remove_neurons,
)
from sparseagent.prune.activity import Activity
from sparseagent.prune.penalty.contribution import turned

ALL = [L1Penalty(0.3), L2Penalty(0.3), GroupLasso(0.3), ContributionPenalty(0.3, 2.0)]
ALL += [ContributionPenalty(0.3, 2.0, as_written=True)]


@pytest.fixture
def net():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[3.0, -4.0], [1.0, 0.0]]))
        net[0].bias.copy_(torch.tensor([0.0, 2.0]))
        net[2].weight.copy_(torch.tensor([[-2.0, 0.5]]))
    return net


BATCH = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # activations 3 3 and 0 2: means 1.5 and 2.5


def test_values_by_hand(net):
    assert L1Penalty(0.5)(net).item() == pytest.approx(0.5 * (3 + 4 + 1 + 2 + 0.5))
    assert L2Penalty(0.5)(net).item() == pytest.approx(0.5 * (9 + 16 + 1 + 4 + 0.25))
    assert GroupLasso(0.5)(net).item() == pytest.approx(0.5 * math.sqrt(2) * (5 + 1))
    assert L1Penalty(1.0, layers=["2"])(net).item() == 2.5
    shares = (1.5 / 4.0, 2.5 / 4.0)

    def cost(x):
        return math.log(1 + math.exp(-abs(x))) * abs(x)

    expected = (1 - shares[0]) * (cost(3) + cost(4)) + (1 - shares[1]) * cost(1)
    assert ContributionPenalty(1.0)(net, BATCH).item() == pytest.approx(expected)
    written = shares[0] * (
        math.log(1 / (1 + math.exp(-3))) * 3 + math.log(1 / (1 + math.exp(4))) * 4
    ) + shares[1] * math.log(1 / (1 + math.exp(-1)))
    value = ContributionPenalty(1.0, as_written=True)(net, BATCH).item()
    assert value == pytest.approx(written)


def test_layers_by_their_place():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1))
    lasso = GroupLasso(1.0)(net)
    assert GroupLasso(1.0, layers=Hidden())(net) == GroupLasso(1.0, layers=Top(3))(net) == lasso
    assert GroupLasso(1.0, layers=Top(2))(net) == GroupLasso(1.0, layers=["2"])(net)
    assert L1Penalty(1.0, layers=Top(2))(net) == L1Penalty(1.0, layers=["2", "4"])(net)
    assert ContributionPenalty(1.0, layers=Hidden())(net[:3], BATCH) > 0.0


def test_both_heads_of_an_actor_are_outputs():
    policy = off_policy(SAC).policy
    hidden = L1Penalty(1.0, layers=["actor.latent_pi"])(policy)
    assert L1Penalty(1.0, layers=Hidden())(policy) == hidden


@pytest.mark.parametrize("penalty", ALL, ids=lambda p: f"{type(p).__name__}")
def test_gradients_against_finite_differences(penalty):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    batch = torch.randn(20, 3).double()
    weights = [net[0].weight, net[2].weight]
    # The shares are constants in the gradient: hold them, by looking only at the costs' weights.
    frozen = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    frozen.load_state_dict(net.state_dict())
    value = penalty(net, batch)
    grads = torch.autograd.grad(value, weights, allow_unused=True)
    step = 1e-6
    for weight, grad in zip(weights, grads, strict=True):
        if grad is None:
            assert weight is net[2].weight
            continue
        for index in range(weight.numel()):
            values = []
            for sign in (1.0, -1.0):
                with torch.no_grad():
                    weight.view(-1)[index] += sign * step
                values.append(held_shares(penalty, net, frozen, batch))
                with torch.no_grad():
                    weight.view(-1)[index] -= sign * step
            slope = (values[0] - values[1]) / (2 * step)
            assert grad.view(-1)[index].item() == pytest.approx(slope, abs=1e-7)


def held_shares(penalty, net, frozen, batch):
    """The penalty, computed apart, with the shares of the unmoved network."""
    if not isinstance(penalty, ContributionPenalty):
        return penalty(net, batch).item()
    shares = Activity.of(frozen[:2](batch).detach()).shares
    theta = net[0].weight.detach()
    if penalty.as_written:
        costs = logsigmoid(penalty.alpha * theta) * theta.abs()
    else:
        shares, size = turned(shares), theta.abs()
        costs = torch.log1p(torch.exp(-penalty.alpha * size)) * size
    return penalty.strength * (shares * costs.sum(dim=1)).sum().item()


def test_the_published_formula_is_negative_and_unbounded_below(net):
    penalty = ContributionPenalty(1.0, as_written=True)
    values = []
    for scale in (1.0, 10.0, 100.0, 1000.0):
        with torch.no_grad():
            net[0].weight.copy_(torch.tensor([[-1.0, -1.0], [-1.0, -1.0]]) * scale)
            net[0].bias.copy_(torch.tensor([1.0, 1.0]) * 10_000)
        values.append(penalty(net, BATCH).item())
    assert all(value < 0 for value in values)
    # Like -alpha * theta^2, times two weights a neuron and shares that add up to 1.
    assert values[-1] == pytest.approx(-2 * 1000.0**2, rel=1e-3)
    weight = torch.tensor([[0.5, 0.5], [0.5, 0.5]])
    with torch.no_grad():
        net[0].weight.copy_(weight)
    assert penalty(net, BATCH).item() < 0  # for positive weights too


def test_minimising_it_runs_away_and_the_default_does_not(net):
    for as_written, last in ((True, -1000.0), (False, 0.0)):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
        penalty = ContributionPenalty(1.0, 2.0, as_written=as_written)
        for _ in range(60):
            optimizer.zero_grad()
            value = penalty(net, BATCH)
            value.backward()
            optimizer.step()
        if as_written:
            assert value.item() < last
            assert net[0].weight.min() < -30
        else:
            assert value.item() >= 0.0
            assert net[0].weight.abs().max() < 1.0


def test_the_default_is_even_bounded_and_zero_at_zero():
    theta = torch.arange(-2000, 2001, dtype=torch.float64) / 100
    for alpha in (0.5, 1.0, 4.0):
        costs = -logsigmoid(alpha * theta.abs()) * theta.abs()
        assert costs.min() == costs[2000] == 0.0
        assert torch.equal(costs, costs.flip(0))
        assert 0.31 / alpha < costs.max() < 0.32 / alpha
    net = nn.Sequential(nn.Linear(1, 2), nn.Identity(), nn.Linear(2, 1))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1e-6], [0.0]]))
    batch = torch.zeros(1, 1)
    with torch.no_grad():
        net[0].bias.fill_(1.0)
    (grad,) = torch.autograd.grad(ContributionPenalty(1.0)(net, batch), [net[0].weight])
    assert grad[0].item() == pytest.approx(0.5 * math.log(2), rel=1e-5)
    assert grad[1].item() == 0.0


def test_the_less_a_neuron_contributes_the_more_it_is_pressed():
    shares = torch.tensor([0.7, 0.2, 0.1])
    assert turned(shares).tolist() == pytest.approx([0.15, 0.4, 0.45])
    assert turned(torch.tensor([1.0])).tolist() == [1.0]
    assert turned(torch.tensor([1.0, 0.0])).tolist() == [0.0, 1.0]


def test_activity_by_hand():
    activity = Activity.of(torch.tensor([[1.0, -2.0, 0.0], [3.0, 2.0, 0.0]]))
    assert activity.p.tolist() == [1.0, 1.0, 0.0]
    assert activity.shares.tolist() == [0.5, 0.5, 0.0]
    assert activity.entropy == pytest.approx(math.log(2))
    assert activity.relative_entropy == pytest.approx(math.log(2) / math.log(3))
    silent = Activity.of(torch.zeros(4, 5))
    assert not silent.p.any()
    assert silent.shares.tolist() == pytest.approx([0.2] * 5)
    assert silent.relative_entropy == pytest.approx(1.0)
    assert Activity.of(torch.ones(3, 1)).relative_entropy == 1.0


def test_group_lasso_kills_neurons_and_l1_weights():
    def train(penalty):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))
        x = torch.randn(200, 4)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
        for _ in range(400):
            optimizer.zero_grad()
            (nn.functional.mse_loss(net(x), x[:, :1]) + penalty(net)).backward()
            optimizer.step()
        return net[0].weight.detach().abs()

    small = 0.02
    plain, group, single = train(L1Penalty(0.0)), train(GroupLasso(0.02)), train(L1Penalty(0.02))
    assert (plain.amax(dim=1) < small).sum() == 0
    assert (group.amax(dim=1) < small).sum() >= 8
    assert (single < small).sum() > 2 * (plain < small).sum()


def test_a_hook_adds_the_gradient_of_the_penalty():
    def train(hooked):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        penalty = ContributionPenalty(0.1)
        x = torch.randn(32, 3)
        handle = penalise(net, penalty, optimizer=optimizer, batch=lambda: x) if hooked else None
        for step in range(6):
            if hooked and step == 4:
                handle.remove()
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(net(x), torch.zeros(32, 2))
            if not hooked and step < 4:
                loss = loss + penalty(net, x)
            loss.backward()
            optimizer.step()
        return net.state_dict()

    one, two = train(True), train(False)
    assert all(torch.allclose(one[name], two[name], rtol=1e-6, atol=1e-7) for name in one)


@pytest.mark.parametrize(
    ("make", "network"),
    [
        (ppo, lambda p: [p.mlp_extractor.policy_net, p.action_net]),
        (dqn, lambda p: [p.q_net]),
        (lambda: off_policy(SAC), lambda p: [p.actor]),
    ],
)
@pytest.mark.parametrize("penalty", [GroupLasso(1.0), ContributionPenalty(1.0), L1Penalty(1.0)])
def test_agents_feel_it_in_the_acting_network(make, network, penalty):
    def norm(model):
        return sum(
            float(p.detach().abs().sum())
            for n in network(model.policy)
            for p in [i.weight for i in n.modules() if isinstance(i, nn.Linear)]
        )

    plain, pressed = make(), make()
    plain.learn(160)
    handle = penalise(pressed, penalty)
    sparsifier = Sparsifier(pressed.policy, score=Magnitude(), schedule=OneShot(to=0.5))
    pressed.learn(160, callback=sparsifier.callback())
    remove_neurons(pressed, prune.NeuronL1(), amount=0.25)
    pressed.learn(40, reset_num_timesteps=False)
    handle.remove()
    assert norm(pressed) < 0.9 * norm(plain)


def test_recent_observations_are_those_of_the_buffer():
    model = ppo()
    with pytest.raises(ValueError, match="batch: expected observations in the model's buffer"):
        adapt(model).recent_observations()
    model.learn(32)
    rows = adapt(model).recent_observations()
    assert rows.shape == (32, 3)
    model = dqn()
    model.learn(300)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    rows = adapt(model).recent_observations()
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert rows.shape == (256, 3)
    buffer = model.replay_buffer
    assert np.array_equal(rows[0], buffer.observations[buffer.pos - 1, 0])
    assert np.array_equal(rows[255], buffer.observations[buffer.pos - 256, 0])


class Rooms(Drift):
    observation_space = spaces.Discrete(5)

    def _observe(self):
        return int(self.np_random.integers(5))

    def step(self, action):
        self._steps += 1
        return self._observe(), 0.0, False, self._steps >= 10, {}


@pytest.mark.parametrize("options", [(PPO, {"n_steps": 64}), (DQN, {"learning_starts": 40})])
def test_discrete_observations_are_numbers(options):
    algorithm, options = options
    model = algorithm("MlpPolicy", Rooms(discrete=True), batch_size=16, **small(), **options)
    handle = penalise(model, ContributionPenalty(0.1))
    model.learn(64)
    handle.remove()
    assert adapt(model).recent_observations().shape == (64,)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda n: L1Penalty(-1.0), ValueError, "strength: expected 0 or more"),
        (lambda n: L2Penalty("1"), TypeError, "strength: expected a number"),
        (lambda n: ContributionPenalty(1.0, 0.0), ValueError, "alpha: expected more than 0"),
        (ContributionPenalty(1.0), ValueError, "batch: expected inputs"),
        (lambda n: GroupLasso(1.0)(nn.Linear(2, 2)), ValueError, "module: expected hidden"),
        (L1Penalty(1.0, layers=["9"]), ValueError, "layers: expected names"),
        (L2Penalty(1.0, layers=lambda *_: False), ValueError, "layers: expected at least one"),
        (GroupLasso(1.0, layers=Top(1)), ValueError, r"at least one nn.Linear of \[0.weight\]"),
        (
            lambda n: L1Penalty(1.0)(nn.ReLU()),
            ValueError,
            "module: expected at least one nn.Linear",
        ),
        (lambda n: penalise(n, L1Penalty(1.0)), ValueError, "optimizer: expected the one"),
        (lambda n: penalise(n, L1Penalty), TypeError, "penalty: expected a callable"),
        (lambda n: penalise([], L1Penalty(1.0)), TypeError, "module: expected a torch"),
        (lambda n: penalise(n, L1Penalty(1.0), optimizer=3), TypeError, "optimizer: expected"),
    ],
)
def test_refusals(net, make, error, message):
    with pytest.raises(error, match=message):
        make(net)


def test_one_file_is_one_exported_class():
    package = importlib.import_module("sparseagent.prune.penalty")
    for _, name, _ in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{name}")
        classes = inspect.getmembers(module, inspect.isclass)
        own = [value for _, value in classes if value.__module__ == module.__name__]
        assert len(own) == 1
        assert getattr(prune, own[0].__name__) is own[0]
