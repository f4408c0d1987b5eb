"""Where the zeros go: top layers, hidden layers, a floor for the output, rescaled weights."""

import pytest
import torch
from sb3_runs import dqn, off_policy, ppo
from sparsified import sparsify
from stable_baselines3 import SAC, TD3
from torch import nn

from sparseagent.prune import (
    CosineDrop,
    Cubic,
    Hidden,
    Magnitude,
    OneShot,
    Random,
    RandomGrowth,
    Sparsifier,
    Top,
    erk,
    global_,
    lamp,
    uniform,
)


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        (Top(1), ("4.weight",)),
        (Top(2), ("2.weight", "4.weight")),
        (Top(9), ("0.weight", "2.weight", "4.weight")),
        (Hidden(), ("0.weight", "2.weight")),
    ],
)
def test_layers_by_their_place(make_net, layers, names):
    assert sparsify(make_net(4, 8, 8, 2), layers=layers).parts == {"module": names}


class OutputFirst(nn.Module):
    """Its layers are registered in another order than they run."""

    def __init__(self):
        super().__init__()
        self.out, self.hidden = nn.Linear(16, 2), nn.Linear(4, 16)

    def forward(self, x):
        return self.out(torch.relu(self.hidden(x)))


class Branching(OutputFirst):
    """A forward that depends on data."""

    def forward(self, x):
        return self.out(torch.relu(self.hidden(x))) if x.sum() > 0 else x


class Heads(nn.Module):
    """A critic and an actor on a body that both share, and that runs twice."""

    def __init__(self):
        super().__init__()
        self.critic = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))
        self.actor = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 2))
        self.body = nn.Sequential(nn.Linear(4, 16), nn.LayerNorm(16))

    def forward(self, x):
        x = x + self.body(x).mean()
        x = self.body(x)
        return self.actor(x), self.critic(x)


class Uncalled(OutputFirst):
    """A layer that the forward does not call."""

    def __init__(self):
        super().__init__()
        self.value = nn.Linear(16, 1)


def tied():
    net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    net[4].weight = net[0].weight
    return net


@pytest.mark.parametrize(
    ("make", "layers", "names"),
    [
        (OutputFirst, Hidden(), ("hidden",)),
        (OutputFirst, Top(1), ("out",)),
        (Heads, Hidden(), ("critic.0", "actor.0", "body.0")),
        (Heads, Top(1), ("critic.2", "actor.2")),
        (Heads, Top(2), ("critic.0", "critic.2", "actor.0", "actor.2")),
        # By registration, where the order cannot be told.
        (Branching, Hidden(), ("out",)),
        (Uncalled, Hidden(), ("out", "hidden")),
        # One weight, which is an output's too.
        (tied, Hidden(), ("2",)),
        (lambda: nn.Linear(4, 2), Top(1), ("",)),
    ],
)
def test_the_order_in_which_layers_run(make, layers, names):
    sparsifier = sparsify(make(), layers=layers)
    assert sparsifier.parts == {"module": tuple(f"{name}.weight".lstrip(".") for name in names)}


def test_every_head_of_a_module_has_a_floor():
    sparsifier = sparsify(Heads(), OneShot(0.8), allocate=uniform, output_floor=1.0)
    sparsifier.step(1.0)
    dense = {name for name, value in sparsifier.layer_sparsity().items() if value == 0.0}
    assert dense == {"critic.2.weight", "actor.2.weight"}


def test_a_forward_is_traced_only_for_a_choice_by_place():
    class Counting(OutputFirst):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x)

    net = Counting()
    sparsify(net, layers=["hidden"]).step(1.0)
    assert net.calls == 0
    sparsify(net, layers=Hidden())
    assert net.calls == 1


@pytest.mark.parametrize(
    ("make", "layers", "parts"),
    [
        (ppo, Top(1), {"actor": ("action_net.weight",)}),
        (
            ppo,
            Hidden(),
            {"actor": ("mlp_extractor.policy_net.0.weight", "mlp_extractor.policy_net.2.weight")},
        ),
        (dqn, Top(2), {"q_net": ("q_net.q_net.2.weight", "q_net.q_net.4.weight")}),
        (
            lambda: off_policy(SAC),
            Top(1),
            {
                "actor": ("actor.mu.weight",),
                "critic": ("critic.qf0.4.weight", "critic.qf1.4.weight"),
            },
        ),
        (
            lambda: off_policy(TD3),
            Hidden(),
            {
                "actor": ("actor.mu.0.weight", "actor.mu.2.weight"),
                "critic": tuple(f"critic.qf{i}.{j}.weight" for i in (0, 1) for j in (0, 2)),
            },
        ),
    ],
    ids=["ppo-top", "ppo-hidden", "dqn", "sac", "td3"],
)
def test_layers_of_each_network_of_a_policy(make, layers, parts):
    assert (
        Sparsifier(make().policy, score=Magnitude(), schedule=OneShot(to=0.5), layers=layers).parts
        == parts
    )


def test_a_value_network_is_one_network():
    sparsifier = Sparsifier(
        ppo().policy,
        score=Magnitude(),
        schedule=OneShot(to=0.5),
        layers=Top(1),
        critic_sparsity=0.5,
    )
    assert sparsifier.parts["critic"] == ("value_net.weight",)


@pytest.mark.parametrize("allocate", [erk, uniform, lamp, global_])
@pytest.mark.parametrize(("floor", "least"), [(0.0, 1), (0.5, 64), (0.8, 102), (1.0, 128)])
def test_the_output_layer_keeps_its_floor(make_net, allocate, floor, least):
    net = make_net(8, 32, 32, 4)
    with torch.no_grad():
        net[4].weight.mul_(0.001)
    sparsifier = sparsify(net, Cubic(to=0.85), allocate=allocate, output_floor=floor)
    total = 8 * 32 + 32 * 32 + 32 * 4
    before = sparsifier.masks
    for percent in range(0, 101, 5):
        sparsifier.step(percent / 100)
        masks = sparsifier.masks
        assert int(masks["4.weight"].sum()) >= least
        kept = sum(int(mask.sum()) for mask in masks.values())
        assert kept == round((1 - Cubic(to=0.85)(percent / 100)) * total)
        assert not any((masks[name] & ~before[name]).any() for name in masks)
        before = masks


def test_a_floor_that_the_allocation_exceeds_changes_nothing(make_net):
    plain, floored = make_net(8, 32, 32, 4), make_net(8, 32, 32, 4)
    first, second = sparsify(plain, OneShot(0.9)), sparsify(floored, OneShot(0.9), output_floor=0.1)
    first.step(1.0)
    second.step(1.0)
    assert all(torch.equal(first.masks[name], mask) for name, mask in second.masks.items())


def test_every_critic_has_an_output_of_its_own():
    sparsifier = Sparsifier(
        off_policy(SAC).policy,
        score=Magnitude(),
        schedule=OneShot(to=0.9),
        allocate=uniform,
        output_floor=1.0,
    )
    sparsifier.step(1.0)
    sparsity = sparsifier.layer_sparsity()
    dense = {name for name, value in sparsity.items() if value == 0.0}
    assert dense == {"actor.mu.weight", "critic.qf0.4.weight", "critic.qf1.4.weight"}
    assert sparsifier.sparsity("critic") == pytest.approx(0.8, abs=1e-3)


def test_a_floor_holds_in_dynamic_training_too(make_net):
    net = make_net(8, 32, 32, 4)
    sparsifier = sparsify(
        net,
        OneShot(to=0.9),
        initial=Random(0),
        grow=RandomGrowth(0),
        drop=CosineDrop(0.5),
        allocate=uniform,
        output_floor=0.75,
    )
    for progress in (0.0, 0.1, 0.2):
        sparsifier.step(progress)
        assert int(sparsifier.masks["4.weight"].sum()) == 96
        assert sparsifier.sparsity() == pytest.approx(0.9, abs=1e-3)


def test_a_floor_that_leaves_the_others_nothing_raises(make_net):
    net = make_net(8, 32, 32, 4)
    message = "output_floor: expected to leave the other 2 layers of"
    with pytest.raises(ValueError, match=message):
        sparsify(net, OneShot(to=0.95), output_floor=1.0)
    # What an allocation by scores leaves is known only when it is asked.
    sparsifier = sparsify(net, OneShot(to=0.95), output_floor=1.0, allocate=global_)
    with pytest.raises(ValueError, match=message):
        sparsifier.step(1.0)


def test_rescaled_weights_by_hand():
    linear = nn.Linear(4, 3, bias=False)
    weight = torch.tensor([[9.0, 8.0, 0.1, 0.2], [7.0, 0.3, 0.4, 0.5], [6.0, 5.0, 4.0, 3.0]])
    with torch.no_grad():
        linear.weight.copy_(weight)
    sparsifier = sparsify(linear, OneShot(to=5 / 12), rescale_initial=True)
    sparsifier.step(0.0)
    # 2, 1 and 4 of 4 weights are left.
    expected = torch.tensor(
        [[9 * 2**0.5, 8 * 2**0.5, 0.0, 0.0], [14.0, 0.0, 0.0, 0.0], [6.0, 5.0, 4.0, 3.0]]
    )
    assert torch.allclose(linear.weight, expected, rtol=1e-6, atol=0.0)


def test_rescaling_keeps_the_variance_of_a_neuron():
    torch.manual_seed(0)
    linear = nn.Linear(1000, 200, bias=False)
    x = torch.randn(500, 1000)
    before = linear(x).var().item()
    sparsify(linear, OneShot(to=0.9), Random(0), rescale_initial=True).step(0.0)
    assert linear(x).var().item() == pytest.approx(before, rel=0.05)


def test_target_networks_are_rescaled_alike():
    policy = dqn().policy
    sparsifier = Sparsifier(policy, score=Random(0), schedule=OneShot(to=0.8), rescale_initial=True)
    sparsifier.step(0.0)
    for name in sparsifier.masks:
        twin = policy.get_parameter(name.replace("q_net", "q_net_target", 1))
        assert torch.equal(policy.get_parameter(name), twin)


def test_weights_pruned_later_are_not_rescaled(make_net):
    net = make_net(4, 8, 2)
    sparsifier = sparsify(net, lambda progress: 0.4 + 0.4 * progress, rescale_initial=True)
    sparsifier.step(0.0)
    weights = net[0].weight.clone()
    sparsifier.advance(0.5)
    sparsifier.step(0.6)
    mask = sparsifier.masks["0.weight"]
    assert sparsifier.sparsity() > 0.6
    assert torch.equal(net[0].weight[mask], weights[mask])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"rescale_initial": True}, ValueError, "rescale_initial: expected a schedule that prunes"),
        ({"output_floor": 1.5}, ValueError, "output_floor: expected a fraction"),
        (
            {"layers": Hidden()},
            ValueError,
            r"layers: expected at least one nn.Linear of \[weight\]",
        ),
        ({"layers": Top}, TypeError, "layers: expected an object, got the class Top"),
    ],
)
def test_bad_arguments_raise(options, error, message):
    with pytest.raises(error, match=message):
        sparsify(nn.Linear(4, 2), Cubic(to=0.5), **options)


def test_top_takes_a_count():
    with pytest.raises(ValueError, match="count: expected at least 1, got 0"):
        Top(0)
