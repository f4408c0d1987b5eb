"""The random policy draws uniformly, and repeats."""

from __future__ import annotations

import numpy as np
import pytest
from toys import DRAW

from sparseagent.random_policy import random_policy
from sparseagent.rollouts import rollout


def test_actions_are_uniform() -> None:
    actions = random_policy("Acrobot-v1")(np.zeros((9000, 6)))
    assert actions.shape == (9000,)
    assert np.bincount(actions).tolist() == pytest.approx([3000] * 3, abs=200)
    pushes = random_policy("Pendulum-v1", seed=1)(np.zeros((4000, 3)))
    assert pushes.shape == (4000, 1)
    assert (pushes.min(), pushes.max()) == pytest.approx((-2, 2), abs=0.02)
    assert pushes.mean() == pytest.approx(0, abs=0.08)


def test_repeats_by_seed() -> None:
    def returns(seed: int) -> list[float]:
        return rollout(random_policy(DRAW, seed=seed), DRAW, episodes=7).returns.tolist()

    assert returns(0) == returns(0)
    assert returns(0) != returns(1)


def test_random_cartpole_falls_soon() -> None:
    result = rollout(random_policy("CartPole-v1"), "CartPole-v1", episodes=300)
    assert 19 < result.mean < 26  # about 22 is known


def test_unknown_environment() -> None:
    with pytest.raises(ValueError, match="cannot make 'NoSuchThing-v0'"):
        random_policy("NoSuchThing-v0")
