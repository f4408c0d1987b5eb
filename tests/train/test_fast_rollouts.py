"""Training rollouts by the plan: equal to the policy at every step, whatever happens to it."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import sparseagent as sa
from sparseagent import prune
from sparseagent.train import CompiledEval, FastRollouts

SMALL: dict[str, Any] = {"n_steps": 32, "seed": 0, "device": "cpu"}


class Watched(FastRollouts):
    """Compares every call with torch's."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def _on_training_start(self) -> None:
        super()._on_training_start()
        policy, fast = self.model.policy, self.model.policy.forward

        def compared(obs: Any, *arguments: Any, **named: Any) -> Any:
            actions, values, log_probs = fast(obs, *arguments, **named)
            with torch.no_grad():
                expected = policy.evaluate_actions(obs, actions)
            torch.testing.assert_close(values, expected[0], rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(log_probs, expected[1], rtol=1e-4, atol=1e-4)
            self.calls += 1
            return actions, values, log_probs

        policy.forward = compared  # type: ignore[method-assign]


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_rollouts_are_those_of_the_policy_that_learns(env: str, algorithm: Any) -> None:
    vec = VecNormalize(DummyVecEnv([lambda: gymnasium.make(env)] * 2))
    model = algorithm("MlpPolicy", vec, **SMALL)
    watched = Watched()
    model.learn(640, callback=watched)
    assert watched.calls == 320
    assert "forward" not in vars(model.policy)


def test_masks_may_change_meanwhile() -> None:
    model = PPO("MlpPolicy", "CartPole-v1", batch_size=32, **SMALL)
    sparsifier = prune.Sparsifier(
        model.policy, score=prune.Magnitude(), schedule=prune.Cubic(to=0.9)
    )
    watched = Watched()
    model.learn(640, callback=[sparsifier.callback(), watched])
    assert watched.calls == 640
    assert sparsifier.sparsity() == pytest.approx(0.9, abs=0.01)


def test_the_same_seed_gives_the_same_training() -> None:
    def weights(seed: int) -> Any:
        model = PPO("MlpPolicy", "CartPole-v1", batch_size=32, **SMALL)
        model.learn(128, callback=FastRollouts(seed=seed))
        return torch.cat([p.detach().reshape(-1) for p in model.policy.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_it_may_learn_twice_and_go_on_without() -> None:
    model = PPO("MlpPolicy", "CartPole-v1", batch_size=32, **SMALL)
    fast = Watched()
    model.learn(64, callback=fast)
    model.learn(64)
    model.learn(64, callback=fast, reset_num_timesteps=False)
    assert fast.calls == 128


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(TypeError, match="expected an on-policy algorithm"):
        DQN("MlpPolicy", "CartPole-v1", device="cpu").learn(1, callback=FastRollouts())
    noisy = PPO("MlpPolicy", "Pendulum-v1", use_sde=True, batch_size=32, **SMALL)
    with pytest.raises(TypeError, match="without gSDE"):
        noisy.learn(1, callback=FastRollouts())


def test_an_update_of_the_plan_leaves_the_model_alone() -> None:
    model = PPO("MlpPolicy", "CartPole-v1", batch_size=32, **SMALL)
    before = [p.detach().clone() for p in model.policy.parameters()]
    fast = FastRollouts()
    fast.init_callback(model)
    fast._on_training_start()
    assert all(torch.equal(a, b) for a, b in zip(before, model.policy.parameters(), strict=True))


def test_the_compiled_policy_is_tested_and_the_best_one_saved(tmp_path: Any) -> None:
    vec = VecNormalize(DummyVecEnv([lambda: gymnasium.make("CartPole-v1")]))
    model = PPO("MlpPolicy", vec, batch_size=32, **SMALL)
    best = tmp_path / "best.safetensors"
    test = CompiledEval("CartPole-v1", every=64, episodes=5, best=best)
    model.learn(256, callback=test)
    assert [step for step, _ in test.results] == [64, 128, 192, 256]
    policy = sa.load(best)
    assert policy.metadata["evaluated_return"] == test.best_mean
    again = sa.rollout(sa.compile(policy), "CartPole-v1", episodes=5)
    assert again.mean == max(result.mean for _, result in test.results)
    assert np.isfinite(test.best_mean)
    with pytest.raises(ValueError, match="every: expected 1 or more"):
        CompiledEval("CartPole-v1", every=0)
