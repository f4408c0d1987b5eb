"""Agents of CleanRL's scripts: their deterministic actions, parts, normalisers and refusals."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from cleanrl_models import Agent, ContinuousAgent, QNetwork, SACActor, TD3Actor
from gymnasium import spaces
from gymnasium.wrappers import (
    ClipAction,
    FlattenObservation,
    NormalizeObservation,
    RecordEpisodeStatistics,
    TransformObservation,
)
from torch import nn

import sparseagent as sa
from sparseagent import prune
from sparseagent.agents import adapt
from sparseagent.convert import NormaliserWarning

BOX = spaces.Box(np.array([-0.5, -2.0], np.float32), np.array([1.5, 0.5], np.float32))
SEEN = np.random.default_rng(0).normal(0, 2, (64, 3)).astype(np.float32)


def assert_same(policy: sa.SparsePolicy, expected: torch.Tensor) -> None:
    actions, _ = sa.compile(policy, tune=0).predict(SEEN, deterministic=True)
    wanted = expected.detach().numpy()
    if wanted.dtype.kind == "f":
        np.testing.assert_allclose(actions, wanted, rtol=0, atol=1e-5)
    else:
        np.testing.assert_array_equal(actions, wanted)


@pytest.mark.parametrize("value", [False, True])
def test_ppo(value: bool) -> None:
    torch.manual_seed(0)
    agent, x = Agent(3, 4), torch.from_numpy(SEEN)
    policy = sa.from_agent(agent, normaliser=False, value=value)
    assert_same(policy, agent.actor(x).argmax(1))
    assert policy.metadata["algorithm"] == "PPO"
    assert policy.metadata["source"] == "cleanrl"
    if value:
        found = sa.compile(policy, tune=0).outputs(SEEN)["value"]
        np.testing.assert_allclose(found, agent.get_value(x).detach(), rtol=0, atol=1e-5)


def test_continuous_ppo_clips_as_its_environment_does() -> None:
    torch.manual_seed(0)
    agent, x = ContinuousAgent(3, 2), torch.from_numpy(SEEN) * 3
    policy = sa.from_agent(agent, action_space=BOX, normaliser=False)
    low, high = torch.tensor(BOX.low), torch.tensor(BOX.high)
    assert_same(policy, agent.actor_mean(x / 3).clamp(low, high))
    free = sa.from_agent(agent, normaliser=False)
    assert free.head.kind == "raw"
    assert_same(free, agent.actor_mean(x / 3))


def test_values_and_atoms() -> None:
    torch.manual_seed(0)
    x = torch.from_numpy(SEEN)
    network = QNetwork(3, 4)
    assert_same(sa.from_agent(network, normaliser=False), network(x).argmax(1))
    atoms = QNetwork(3, 4, atoms=11)
    assert_same(sa.from_agent(atoms, normaliser=False), atoms.get_action(x))


@pytest.mark.parametrize("kind", [SACActor, TD3Actor])
def test_squashed_actors(kind: type[Any]) -> None:
    torch.manual_seed(0)
    actor, x = kind(3, BOX), torch.from_numpy(SEEN)
    expected = actor.get_action(x)[1] if kind is SACActor else actor(x)
    assert_same(sa.from_agent(actor, action_space=BOX, normaliser=False), expected)


def test_distributions() -> None:
    torch.manual_seed(0)
    stochastic = {"normaliser": False, "stochastic": True}
    assert sa.from_agent(Agent(3, 4), **stochastic).head.kind == "categorical"
    head = sa.from_agent(ContinuousAgent(3, 2), **stochastic).head
    np.testing.assert_array_equal(head.log_std, np.full(2, -0.5, np.float32))  # type: ignore[attr-defined]
    policy = sa.from_agent(SACActor(3, BOX), **stochastic)
    assert list(policy.program.outputs) == ["action", "log_std"]
    assert "leave out the constant" in policy.metadata["quirks"][0]
    with pytest.raises(ValueError, match="stochastic: expected False for TD3 and DDPG"):
        sa.from_agent(TD3Actor(3, BOX), **stochastic)


class Drift(gymnasium.Env[Any, Any]):
    """Observations far from zero."""

    observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float64)
    action_space = BOX

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self._observe(), 0.0, False, False, {}

    def _observe(self) -> Any:
        return self.np_random.normal([50.0, -3.0, 0.1], [20.0, 0.5, 0.001])


def wrapped() -> Any:
    """The wrappers of ppo_continuous_action.py."""
    env: Any = RecordEpisodeStatistics(FlattenObservation(Drift()))
    env = NormalizeObservation(ClipAction(env))
    return TransformObservation(env, lambda x: np.clip(x, -10, 10), env.observation_space)


@pytest.mark.parametrize("vector", [False, True])
def test_normalisers_of_the_environment_are_built_in(vector: bool) -> None:
    torch.manual_seed(0)
    env = gymnasium.vector.SyncVectorEnv([wrapped]) if vector else wrapped()
    env.reset(seed=1)
    for _ in range(50):
        env.step(env.action_space.sample())
    agent = ContinuousAgent(3, 2)
    policy = sa.from_agent(agent, env=env)
    assert policy.metadata["vecnormalize"] == "built in"
    assert "wrappers" not in policy.metadata
    inner = env.envs[0] if vector else env
    raw = np.random.default_rng(0).normal([50.0, -3.0, 0.1], [600.0, 0.5, 0.001], (64, 3))
    rms = inner.get_wrapper_attr("obs_rms")
    normalised = np.clip((raw - rms.mean) / np.sqrt(rms.var + 1e-8), -10, 10)
    assert (np.abs(normalised) == 10).any(), "the clip must act"
    with torch.no_grad():
        mean = agent.actor_mean(torch.from_numpy(normalised.astype(np.float32))).numpy()
    actions, _ = sa.compile(policy, tune=0).predict(raw)
    np.testing.assert_allclose(actions, np.clip(mean, BOX.low, BOX.high), rtol=0, atol=1e-5)


def test_a_transformation_that_is_no_clip_is_refused() -> None:
    env: Any = NormalizeObservation(Drift())
    env = TransformObservation(env, lambda x: np.clip(x, -10, 10) + 1e-3, env.observation_space)
    with pytest.raises(ValueError, match="expected NormalizeObservation to be what the policy"):
        sa.from_agent(ContinuousAgent(3, 2), env=env)


def test_silence_about_a_normaliser_is_a_warning() -> None:
    with pytest.warns(NormaliserWarning, match=r"pass env= .* normaliser=False") as warned:
        policy = sa.from_agent(Agent(3, 4))
    assert warned[0].filename == __file__
    assert policy.metadata["vecnormalize"] == "not stated"
    statistics = {"mean": np.ones(3), "var": np.ones(3), "epsilon": 1e-8, "clip_obs": 10.0}
    built_in = sa.from_agent(Agent(3, 4), normaliser=statistics)
    assert built_in.metadata["vecnormalize"] == "built in"
    assert built_in.observation.high == 10


def test_pruning_knows_the_parts() -> None:
    schedule = prune.OneShot(to=0.5)
    agent = Agent(3, 4)
    sparsifier = prune.Sparsifier(agent, score=prune.Magnitude(), schedule=schedule)
    assert sparsifier.parts == {"actor": tuple(f"actor.{n}.weight" for n in (0, 2, 4))}
    sparsifier.step(1.0)
    policy = sa.from_agent(agent, normaliser=False, masks=sparsifier)
    assert policy.sparsity == pytest.approx(0.5, abs=0.01)
    network = QNetwork(3, 4)
    assert list(prune.Sparsifier(network, score=prune.Magnitude(), schedule=schedule).parts) == [
        "q_net"
    ]
    actor = SACActor(3, BOX)
    chosen = prune.Sparsifier(actor, score=prune.Magnitude(), schedule=schedule).parts["actor"]
    assert "fc_logstd.weight" not in chosen


def test_what_is_no_agent_is_left_alone() -> None:
    assert adapt(nn.Sequential(nn.Linear(3, 2))) is None
    assert adapt(nn.Linear(3, 2)) is None
    with pytest.raises(TypeError, match=r"agent: expected one of CleanRL, .* from_torch any"):
        sa.from_agent(nn.Linear(3, 2))


def test_an_actor_that_cannot_be_compiled_is_named_when_it_is_to_be_pruned() -> None:
    agent = Agent(3, 4)
    agent.actor.append(nn.Hardshrink())
    with pytest.warns(prune.PruningWarning, match="can be pruned, but not be compiled yet: module"):
        prune.Sparsifier(agent, score=prune.Magnitude(), schedule=prune.OneShot(to=0.5))


class Pixels(Agent):
    """ppo_atari.py"""

    def __init__(self) -> None:
        super().__init__(8, 4)
        self.network = nn.Sequential(nn.Conv2d(4, 8, 8), nn.Flatten())


def test_images_are_refused_before_training() -> None:
    with pytest.raises(TypeError, match=r"Conv2d at 'policy.network.0'; policies of images cannot"):
        sa.from_agent(Pixels(), normaliser=False)
    with pytest.raises(TypeError, match="module: training it would be for nothing: policy: expec"):
        prune.Sparsifier(Pixels(), score=prune.Magnitude(), schedule=prune.OneShot(to=0.5))
