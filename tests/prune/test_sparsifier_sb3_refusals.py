"""What pruning a Stable-Baselines3 model refuses, and runs that end too early."""

import pytest
import torch
from gymnasium import spaces
from sb3_runs import (
    Drift,
    dqn,
    off_policy,
    ppo,
    sparsify,
)
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy

from sparseagent.prune import Magnitude, OneShot, Sparsifier


class Stop(BaseCallback):
    def _on_step(self):
        return self.num_timesteps < 100


def test_a_run_stopped_early_raises():
    model = ppo()
    sparsifier = sparsify(model)
    with pytest.raises(RuntimeError, match=r"training stopped after 100 of 320 .* call freeze"):
        model.learn(320, callback=[sparsifier.callback(), Stop()])
    assert not model.policy.optimizer._optimizer_step_post_hooks


def test_a_run_stopped_after_the_ramp_is_fine():
    model = ppo()
    sparsifier = sparsify(model, OneShot(to=0.9))
    model.learn(320, callback=[sparsifier.callback(), Stop()])
    assert sparsifier.finished


def test_a_run_without_updates_raises():
    model = off_policy(SAC, gradient_steps=0)
    with pytest.raises(RuntimeError, match="training ended without a gradient update"):
        model.learn(100, callback=sparsify(model).callback())


def test_learning_that_never_starts_raises():
    model = off_policy(SAC, learning_starts=100)
    with pytest.raises(ValueError, match=r"total_timesteps: expected more than 100, .* got 100"):
        model.learn(100, callback=sparsify(model).callback())


def test_the_policy_of_another_model_raises():
    with pytest.raises(ValueError, match="sparsifier: expected one made from the policy of this"):
        ppo().learn(64, callback=sparsify(ppo()).callback())


@pytest.mark.parametrize("total", [0, 1.5, True])
def test_bad_total_raises(total):
    error = ValueError if total == 0 and not isinstance(total, bool) else TypeError
    with pytest.raises(error, match="total_timesteps: expected"):
        sparsify(ppo()).callback(total)


@pytest.mark.parametrize(
    ("make", "options", "error", "message"),
    [
        (ppo, {"critic_sparsity": 1.0}, ValueError, "critic_sparsity: expected a sparsity"),
        (ppo, {"critic_sparsity": "none"}, TypeError, "critic_sparsity: expected a number"),
        (dqn, {"critic_sparsity": 0.5}, ValueError, "critic_sparsity: .* without a critic"),
        (ppo, {"layers": ["value_net"]}, ValueError, "layers: expected no critic layers"),
        (ppo, {"layers": ["critic"]}, ValueError, "layers: expected names among"),
        (dqn, {"layers": ["q_net_target"]}, ValueError, "layers: expected names among"),
        (
            ppo,
            {"layers": ["action_net"], "critic_sparsity": 0.5},
            ValueError,
            "critic_sparsity: expected None, as layers selects no critic layer",
        ),
        (
            ppo,
            {"schedule": OneShot(to=0.0), "critic_sparsity": 0.5},
            ValueError,
            "critic_sparsity: expected None while the schedule stays at sparsity 0",
        ),
        (ppo, {"targets": torch.nn.Linear(1, 1)}, ValueError, "targets: expected None"),
    ],
)
def test_bad_arguments_raise(make, options, error, message):
    with pytest.raises(error, match=message):
        sparsify(make(), **options)


def test_a_model_is_not_its_policy():
    with pytest.raises(TypeError, match=r"module: expected .*, got PPO; pass model.policy"):
        Sparsifier(ppo(), score=Magnitude(), schedule=OneShot(to=0.5))


def test_a_network_that_is_a_policy_itself_is_pruned_by_its_parts():
    actor = off_policy(SAC).policy.actor
    with pytest.raises(TypeError, match=r"got Actor; pass a part of it that is no policy itself"):
        Sparsifier(actor, score=Magnitude(), schedule=OneShot(to=0.5))
    Sparsifier(actor.latent_pi, score=Magnitude(), schedule=OneShot(to=0.5)).step(1.0)
    assert not actor.latent_pi[2].weight.all()


def test_an_unknown_policy_raises():
    class Mystery(BasePolicy):
        def _predict(self, observation, deterministic=False):
            raise NotImplementedError

    policy = Mystery(Drift.observation_space, spaces.Discrete(2))
    with pytest.raises(TypeError, match=r"module: expected a policy of PPO, .* got Mystery"):
        Sparsifier(policy, score=Magnitude(), schedule=OneShot(to=0.5))
