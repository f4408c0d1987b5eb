"""Whole inputs by their norm: which layers have inputs, and which of these stay."""

import copy

import pytest
import torch
from sb3_runs import dqn, off_policy, ppo
from sparsified import sparsify
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from sparseagent.prune import (
    NM,
    Block,
    CosineDrop,
    Cubic,
    First,
    GradientGrowth,
    Hidden,
    InputNorm,
    LaneBalanced,
    Magnitude,
    OneShot,
    Sparsifier,
    Taylor,
    Unstructured,
    WholeNeurons,
)
from sparseagent.prune.inputs import input_layers
from sparseagent.prune.layer import Layer, linear_layers
from sparseagent.prune.observation import is_observer

RELEVANT = (4, 17, 33)


def _scores(weight, score=None):
    weight = torch.as_tensor(weight, dtype=torch.float32)
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        linear.weight.copy_(weight)
    return (score or InputNorm()).score(Layer("weight", linear, reads_input=True))


def _order(scores):
    """Places (row, column), the one that is kept longest first."""
    flat = torch.argsort(scores.flatten(), descending=True, stable=True)
    return [divmod(int(place), scores.shape[1]) for place in flat]


def test_whole_columns_by_their_norm_and_inside_them_by_magnitude():
    scores = _scores([[3.0, 0.0, 1.0], [-1.0, 3.5, 2.0]])  # squares 10, 12.25, 5
    assert _order(scores) == [(1, 1), (0, 1), (0, 0), (1, 0), (1, 2), (0, 2)]
    size = torch.tensor([10.0, 12.25, 5.0]).div(2).sqrt().expand(2, 3)
    assert torch.allclose(scores.float(), size)  # on the scale of one weight


def test_columns_of_equal_norm_and_of_zeros_do_not_mix():
    scores = _scores([[0.0, 2.0, 1.0, 0.0], [0.0, 1.0, 2.0, 0.0]])
    assert _order(scores) == [(0, 1), (1, 1), (1, 2), (0, 2), (0, 0), (1, 0), (0, 3), (1, 3)]
    assert len(scores.unique()) == 8


def test_norms_a_rounding_apart_still_decide():
    low = 1.0
    high = float(torch.nextafter(torch.tensor(low), torch.tensor(2.0)))
    # The lower column has the larger weights inside.
    scores = _scores([[low, high], [low, high]])
    assert {column for _, column in _order(scores)[:2]} == {1}


def test_a_column_is_finished_before_the_next_is_begun():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(12, 7))
    sparsifier = sparsify(net, Cubic(to=0.9), InputNorm())
    for step in range(101):
        sparsifier.step(step / 100)
        counts = sparsifier.masks["0.weight"].sum(0)
        assert int(((counts > 0) & (counts < 7)).sum()) <= 1
    assert sparsifier.finished


def _regression(score):
    """Three of 50 inputs matter; the first layer keeps as many weights as three inputs have."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(50, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    sparsifier = sparsify(net, Cubic(to=0.94, stop=0.8), score, layers=["0"])
    sparsifier.attach(optimizer, total_updates=600)
    generator = torch.Generator().manual_seed(1)
    for _ in range(600):
        x = torch.randn(64, 50, generator=generator)
        y = x[:, RELEVANT].sum(1, keepdim=True)
        optimizer.zero_grad()
        nn.functional.mse_loss(net(x), y).backward()
        optimizer.step()
    return sparsifier.masks["0.weight"]


def test_exactly_the_relevant_inputs_stay():
    mask = _regression(InputNorm())
    assert tuple(mask.any(0).nonzero().flatten().tolist()) == RELEVANT
    assert bool(mask[:, RELEVANT].all())
    # Magnitude spends weights on others.
    assert int(_regression(Magnitude()).any(0).sum()) > 3


def test_other_layers_have_the_inner_score(make_net):
    net = make_net(6, 8, 8, 2)
    layers = [Layer(f"{i}.weight", net[i]) for i in (2, 4)]
    for layer in layers:
        assert torch.equal(InputNorm().score(layer), Magnitude().score(layer))
    sparsifier = sparsify(net, OneShot(to=0.5), InputNorm())
    reference = sparsify(copy.deepcopy(net), OneShot(to=0.5), Magnitude())
    sparsifier.step(1.0)
    reference.step(1.0)
    assert torch.equal(sparsifier.masks["2.weight"], reference.masks["2.weight"])
    assert not torch.equal(sparsifier.masks["0.weight"], reference.masks["0.weight"])


def test_the_inner_score_may_observe(make_net):
    assert not is_observer(InputNorm())
    assert is_observer(InputNorm(Taylor()))
    assert InputNorm(Taylor(average=7)).average == 7
    net = make_net(6, 8, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    sparsifier = sparsify(net, Cubic(to=0.5), InputNorm(Taylor()), every=1)
    sparsifier.attach(optimizer, total_updates=10)
    for index in range(10):
        optimizer.zero_grad()
        net(torch.randn(4, 6, generator=torch.Generator().manual_seed(index))).sum().backward()
        optimizer.step()
    assert sparsifier.finished
    with pytest.raises(TypeError, match="inner: expected an object with a method 'score'"):
        InputNorm(Magnitude)


@pytest.mark.parametrize(
    ("pattern", "to"),
    [
        (Unstructured(), 0.8),
        (Block(4, 1), 0.8),
        (LaneBalanced(), 0.8),
        (NM(2, 4), 0.5),
        (WholeNeurons(), 0.5),
    ],
    ids=lambda value: type(value).__name__,
)
def test_with_any_pattern(make_net, pattern, to):
    net = make_net(32, 16, 16, 4)
    sparsifier = sparsify(net, OneShot(to=to), InputNorm(), pattern=pattern)
    sparsifier.step(1.0)
    assert sparsifier.finished


def test_with_growth(make_net):
    net = make_net(6, 8, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    sparsifier = sparsify(
        net, Cubic(to=0.5), InputNorm(), grow=GradientGrowth(), drop=CosineDrop(), every=2
    )
    sparsifier.attach(optimizer, total_updates=20)
    for index in range(20):
        optimizer.zero_grad()
        net(torch.randn(4, 6, generator=torch.Generator().manual_seed(index))).sum().backward()
        optimizer.step()
    assert sparsifier.sparsity() == pytest.approx(0.5, abs=0.01)


# ---------------------------------------------------------------------------- who reads inputs


def _found(module):
    return set(input_layers(module, linear_layers(module).values()))


def test_the_networks_of_policies_are_known():
    names = {"mlp_extractor.policy_net.0.weight", "mlp_extractor.value_net.0.weight"}
    assert _found(ppo().policy) == names
    assert _found(dqn().policy) == {"q_net.q_net.0.weight"}
    assert _found(off_policy(SAC).policy) == {
        "actor.latent_pi.0.weight",
        "critic.qf0.0.weight",
        "critic.qf1.0.weight",
    }
    assert _found(off_policy(TD3).policy) == {
        "actor.mu.0.weight",
        "critic.qf0.0.weight",
        "critic.qf1.0.weight",
    }


def test_a_linear_actor_reads_inputs():
    model = ppo(policy_kwargs={"net_arch": {"pi": [], "vf": [8]}})
    assert _found(model.policy) == {"action_net.weight", "mlp_extractor.value_net.0.weight"}


class Extractor(BaseFeaturesExtractor):
    def __init__(self, space):
        super().__init__(space, 5)
        self.net = nn.Linear(3, 5)

    def forward(self, observations):
        return self.net(observations)


@pytest.mark.parametrize("share", [True, False])
def test_behind_a_features_extractor_nothing_reads_inputs(share):
    model = ppo(
        policy_kwargs={
            "net_arch": [8],
            "features_extractor_class": Extractor,
            "share_features_extractor": share,
        }
    )
    if share:
        # It stays dense, so no pruned layer has inputs.
        with pytest.raises(
            ValueError, match="score, grow: expected a pruned layer that reads the obs"
        ):
            sparsify(model.policy, score=InputNorm())
        return
    assert _found(model.policy) == {
        "features_extractor.net.weight",
        "vf_features_extractor.net.weight",
    }


class Backwards(nn.Module):
    """Layers are registered in another order than they run; two of them read the input."""

    def __init__(self):
        super().__init__()
        self.out, self.one, self.two = nn.Linear(6, 2), nn.Linear(4, 3), nn.Linear(4, 3)
        self.norm = nn.LayerNorm(4)

    def forward(self, x):
        x = self.norm(x)  # each input by itself
        return self.out(torch.cat([self.one(x), torch.relu(self.two(x))], dim=1))


class Convolved(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv1d(1, 2, 3), nn.Linear(4, 2)

    def forward(self, x):
        return self.out(self.conv(x).flatten(1))


class Branching(nn.Module):
    """A forward that depends on data: it cannot be traced."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, x):
        return self.second(self.first(x)) if x.sum() > 0 else x


def test_plain_modules_are_traced():
    assert _found(Backwards()) == {"one.weight", "two.weight"}
    assert _found(Convolved()) == set()
    assert _found(Branching()) == {"first.weight"}


def test_a_choice_of_layers_without_inputs_is_refused(make_net):
    with pytest.raises(ValueError, match="score, grow: expected a pruned layer that reads the obs"):
        sparsify(make_net(4, 8, 8, 2), score=InputNorm(), layers=["2"])


# ----------------------------------------------------------------------------- layers of critics


def _critic(policy, **options):
    sparsifier = Sparsifier(
        policy, score=InputNorm(), schedule=OneShot(to=0.5), critic_sparsity=0.75, **options
    )
    sparsifier.step(1.0)
    return sparsifier


def test_of_the_critic_the_layers_that_read_the_observation_alone():
    sparsifier = _critic(ppo().policy, critic_layers=First(1))
    assert sparsifier.parts["critic"] == ("mlp_extractor.value_net.0.weight",)
    assert sparsifier.sparsity("critic") == pytest.approx(0.75)
    assert len(sparsifier.parts["actor"]) == 3
    both = _critic(off_policy(SAC).policy, critic_layers=First(1)).parts
    assert both["critic"] == ("critic.qf0.0.weight", "critic.qf1.0.weight")
    assert len(_critic(ppo().policy).parts["critic"]) == 3


def test_layers_and_critic_layers_both_narrow():
    policy = ppo().policy
    parts = _critic(policy, layers=Hidden(), critic_layers=First(9)).parts
    assert parts["critic"] == (
        "mlp_extractor.value_net.0.weight",
        "mlp_extractor.value_net.2.weight",
    )


def test_critic_layers_that_make_no_sense_are_refused(make_net):
    policy = ppo().policy
    with pytest.raises(ValueError, match="critic_layers: expected None beside critics that stay"):
        sparsify(policy, critic_layers=First(1))
    with pytest.raises(TypeError, match=r"critic_layers: expected a choice such as First\(1\)"):
        _critic(policy, critic_layers=["mlp_extractor.value_net.0"])
    with pytest.raises(ValueError, match="critic_layers: expected None for a plain module"):
        sparsify(make_net(4, 8, 2), critic_layers=First(1))
    with pytest.raises(ValueError, match="count: expected at least 1"):
        First(0)
