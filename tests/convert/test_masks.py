"""Structure from masks: a kept weight that becomes zero stays, and plans are refreshed in place."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, PPO, SAC, TD3
from stable_baselines3.common.callbacks import BaseCallback
from torch import nn

import sparseagent as sa
from sparseagent import prune
from sparseagent.csr import CSR


def pruned(seed=0, sparsity=0.8):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2))
    sparsifier = prune.Sparsifier(
        net, score=prune.Random(seed), schedule=prune.OneShot(to=sparsity)
    )
    sparsifier.step(0.0)
    return net, sparsifier


def nonzeros(policy):
    return [
        weight.nnz if isinstance(weight := layer.weight, CSR) else weight.size
        for layer in policy.layers
    ]


def test_the_structure_is_that_of_the_masks():
    net, sparsifier = pruned()
    mask = sparsifier.masks["2.weight"]
    place = tuple(mask.nonzero()[0].tolist())
    with torch.no_grad():
        net[2].weight[place] = 0.0
    policy = sa.from_torch(net, masks=sparsifier, order="ascending")
    assert nonzeros(policy) == [int(mask.sum()) for mask in sparsifier.masks.values()]
    assert [layer.shape for layer in policy.layers] == [(32, 6), (32, 32), (2, 32)]
    stored = policy.layers[1].weight
    assert isinstance(stored, CSR)
    assert set(zip(stored.rows().tolist(), stored.indices.tolist(), strict=True)) == {
        tuple(pair) for pair in mask.nonzero().tolist()
    }
    # By its nonzero values it is smaller.
    plain = sa.from_torch(net, order="ascending")
    assert sum(nonzeros(plain)) < sum(nonzeros(policy))


def test_layers_without_a_mask_have_all_their_weights():
    net, _ = pruned(sparsity=0.0)
    with torch.no_grad():
        net[4].weight.zero_()
    masks = {"0.weight": torch.ones(32, 6, dtype=torch.bool)}
    policy = sa.from_torch(net, masks=masks, order="ascending")
    assert nonzeros(policy) == [192, 1024, 64]


def test_outputs_are_those_of_torch():
    net, sparsifier = pruned()
    x = np.random.default_rng(0).standard_normal((50, 6)).astype(np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(x)).numpy()
    y = sa.compile(sa.from_torch(net, masks=sparsifier.masks))(x)
    assert np.abs(y - expected).max() < 1e-5


def test_a_plan_is_refreshed_after_every_update():
    """New values under the same masks, some of them exactly zero, and whole neurons dead."""
    net, sparsifier = pruned(sparsity=0.9)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    sparsifier.attach(optimizer, total_updates=20)
    plan = sa.compile(sa.from_torch(net, masks=sparsifier))
    x = np.random.default_rng(0).standard_normal((20, 6)).astype(np.float32)
    for update in range(20):
        optimizer.zero_grad()
        net(torch.from_numpy(x)).square().sum().backward()
        optimizer.step()
        with torch.no_grad():
            net[0].weight[update].zero_()
        plan.update(sa.from_torch(net, masks=sparsifier))
        fresh = sa.compile(sa.from_torch(net, masks=sparsifier))
        assert np.array_equal(plan(x), fresh(x))
        with torch.no_grad():
            expected = net(torch.from_numpy(x)).numpy()
        assert np.abs(plan(x) - expected).max() < 1e-5


def test_without_masks_the_structure_would_differ():
    net, sparsifier = pruned()
    plan = sa.compile(sa.from_torch(net))
    with torch.no_grad():
        net[2].weight[tuple(sparsifier.masks["2.weight"].nonzero()[0].tolist())] = 0.0
    with pytest.raises(ValueError, match="structure"):
        plan.update(sa.from_torch(net))


class Refresh(BaseCallback):
    """Updates a plan after each training phase and compares it with the model."""

    def __init__(self, sparsifier):
        super().__init__()
        self.sparsifier = sparsifier
        self.plan = None
        self.times = 0

    def _on_step(self):
        return True

    def _on_rollout_start(self):
        policy = sa.from_sb3(self.model, masks=self.sparsifier)
        if self.plan is None:
            self.plan = sa.compile(policy)
        self.plan.update(policy)
        self.times += 1
        rng = np.random.default_rng(self.times)
        observations = rng.standard_normal((30, 4)).astype(np.float32)
        mine, _ = self.plan.predict(observations, deterministic=True)
        theirs, _ = self.model.predict(observations, deterministic=True)
        assert np.array_equal(mine, theirs)


def test_a_plan_is_refreshed_after_every_rollout_of_ppo():
    model = PPO("MlpPolicy", "CartPole-v1", n_steps=64, batch_size=32, device="cpu", seed=0)
    sparsifier = prune.Sparsifier(
        model.policy, score=prune.Random(0), schedule=prune.OneShot(to=0.9)
    )
    sparsifier.step(0.0)
    refresh = Refresh(sparsifier)
    model.learn(640, callback=[sparsifier.callback(), refresh])
    assert refresh.times == 10


@pytest.mark.parametrize(
    ("algorithm", "env"), [(PPO, "CartPole-v1"), (DQN, "CartPole-v1"), (SAC, "Pendulum-v1")]
)
def test_live_models_and_zips_give_the_same(algorithm, env, tmp_path):
    options = {} if algorithm is PPO else {"buffer_size": 100}
    model = algorithm("MlpPolicy", env, device="cpu", seed=0, **options)
    sparsifier = prune.Sparsifier(
        model.policy, score=prune.Random(0), schedule=prune.OneShot(to=0.9)
    )
    sparsifier.step(0.0)
    model.save(tmp_path / "model.zip")
    live = sa.from_sb3(model, masks=sparsifier)
    saved = sa.from_sb3(tmp_path / "model.zip", vecnormalize=False, masks=sparsifier.masks)
    (part, *_) = sparsifier.parts
    kept = [int(sparsifier.masks[name].sum()) for name in sparsifier.parts[part]]
    assert nonzeros(live) == nonzeros(saved) == kept
    space = gym.make(env).observation_space
    space.seed(0)
    x = np.stack([space.sample() for _ in range(20)]).clip(-10, 10)
    assert np.array_equal(sa.compile(live)(x), sa.compile(saved)(x))


def test_dead_neurons_stay_only_with_masks():
    model = TD3("MlpPolicy", "Pendulum-v1", device="cpu", seed=0, buffer_size=100)
    sparsifier = prune.Sparsifier(
        model.policy, score=prune.Random(0), schedule=prune.OneShot(to=0.98)
    )
    sparsifier.step(0.0)
    kept = sa.from_sb3(model, masks=sparsifier)
    removed = sa.from_sb3(model)
    assert [layer.shape[0] for layer in kept.layers] == [400, 300, 1]
    assert removed.layers[0].shape[0] < 400
    assert "removed_neurons" in removed.metadata
    assert "removed_neurons" not in kept.metadata


@pytest.mark.parametrize(
    ("masks", "error", "message"),
    [
        (3, TypeError, "masks: expected a Sparsifier or a mapping of masks, got int"),
        ({"0.weight": torch.ones(32, 6)}, TypeError, r"masks: 0.weight: expected bool \[out, in\]"),
        ({"0.weight": torch.ones(6, 32) > 0}, ValueError, r"masks: 0.weight: expected the shape"),
        ({"0.weight": torch.ones(32, 6) < 0}, ValueError, "masks: 0.weight: expected zeros where"),
        ({"1.weight": torch.ones(32, 6) > 0}, ValueError, "masks: expected one for at least one"),
        ({}, ValueError, "masks: expected one for at least one of"),
    ],
)
def test_masks_that_do_not_fit_raise(masks, error, message):
    net, _ = pruned()
    with pytest.raises(error, match=message):
        sa.from_torch(net, masks=masks)
