"""Pruning while the algorithms of Stable-Baselines3 learn."""

import copy

import pytest
import torch
from sb3_runs import (
    Drift,
    Watch,
    dqn,
    kept,
    off_policy,
    ppo,
    small,
    sparsify,
    weights,
)
from stable_baselines3 import A2C, DDPG, PPO, SAC, TD3
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from sparseagent.prune import Cubic, OneShot, global_


def test_dqn_run():
    model = dqn()
    sparsifier = sparsify(model, every=1)
    assert list(sparsifier.parts) == ["q_net"]
    watch = Watch(sparsifier, [("q_net", "q_net_target")])
    model.learn(400, callback=[sparsifier.callback(), watch])
    total = weights(sparsifier, "q_net")
    assert kept(sparsifier, "q_net") == round(0.1 * total)
    assert sparsifier.updates == (400 - 40) // 4
    assert sparsifier.progress == 1.0
    for steps, sparsity in watch.path:
        # After `steps` environment steps, the update that follows them is not made yet.
        progress = max(0, (steps - 1) // 4 * 4 - 40) / 360
        expected = round((1 - Cubic(to=0.9)(progress)) * total)
        assert sparsity == pytest.approx(1 - expected / total)


@pytest.mark.parametrize("algorithm", [SAC, TD3, DDPG])
def test_off_policy_actor_critic_run(algorithm):
    model = off_policy(algorithm)
    sparsifier = sparsify(model)
    pairs = [("critic", "critic_target")]
    if algorithm is not SAC:
        pairs.append(("actor", "actor_target"))
    model.learn(200, callback=[sparsifier.callback(), Watch(sparsifier, pairs)])
    assert sparsifier.updates == (80 if algorithm is TD3 else 160)
    assert kept(sparsifier, "actor") == round(0.1 * weights(sparsifier, "actor"))
    assert kept(sparsifier, "critic") == round(0.2 * weights(sparsifier, "critic"))
    for optimizer in (model.policy.actor.optimizer, model.policy.critic.optimizer):
        assert not optimizer._optimizer_step_post_hooks
        for name, mask in sparsifier.masks.items():
            state = optimizer.state.get(model.policy.get_parameter(name), {})
            for key in ("exp_avg", "exp_avg_sq"):
                assert not state or not state[key][~mask].any()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"target_kl": 1e-8},
        {"n_epochs": 1, "batch_size": 32},
        {"batch_size": 24},
        {"learning_rate": lambda left: 1e-3 * left},
    ],
)
@pytest.mark.filterwarnings("ignore:You have specified a mini-batch size:UserWarning")
def test_ppo_run(options):
    model = ppo(**options)
    value_net = copy.deepcopy(model.policy.value_net)
    sparsifier = sparsify(model, Cubic(to=0.9, start=0.1, stop=1.0), every=1)
    watch = Watch(sparsifier)
    model.learn(300, callback=[sparsifier.callback(), watch])
    assert kept(sparsifier, "actor") == round(0.1 * weights(sparsifier, "actor"))
    assert len(sparsifier.parts) == 1
    for name, mask in sparsifier.masks.items():
        assert not torch.signbit(model.policy.get_parameter(name)[~mask]).any()
    assert model.policy.value_net.weight.all()
    assert not torch.equal(model.policy.value_net.weight, value_net.weight)
    if "target_kl" not in options:
        batches = -(-32 // options.get("batch_size", 16))
        assert sparsifier.updates == 10 * options.get("n_epochs", 3) * batches
        assert sparsifier.progress == 1.0
        # Ten rollouts of 32 steps: before the k-th update phase, k / 10 of the run is over.
        total = weights(sparsifier, "actor")
        for steps, sparsity in watch.path:
            progress = (steps - 1) // 32 / 10
            expected = round((1 - Cubic(0.9, 0.1, 1.0)(progress)) * total)
            assert sparsity == pytest.approx(1 - expected / total)


def test_a_ramp_that_lasts_to_the_end_is_finished():
    # The last update phase stops early: no update ever sees progress 1.
    model = ppo(target_kl=1e-8)
    sparsifier = sparsify(model, OneShot(to=0.9, at=1.0))
    watch = Watch(sparsifier)
    model.learn(160, callback=[sparsifier.callback(), watch])
    assert {sparsity for _, sparsity in watch.path} == {0.0}
    assert sparsifier.finished
    state = model.policy.state_dict()
    assert not any(state[name][~mask].any() for name, mask in sparsifier.masks.items())


def test_ppo_prunes_within_an_update_phase():
    model = ppo(n_steps=256, n_epochs=4)
    sparsifier = sparsify(model, Cubic(to=0.9, start=0.0, stop=1.0))
    seen = []
    hook = model.policy.optimizer.register_step_post_hook(
        lambda *_: seen.append(sparsifier.progress)
    )
    model.learn(512, callback=sparsifier.callback())
    hook.remove()
    # This hook came before the sparsifier's: it sees the progress of the update before.
    assert seen == pytest.approx([index / 128 for index in range(128)])


def test_td3_counts_the_delayed_updates_of_its_actor():
    model = off_policy(TD3, train_freq=20, gradient_steps=20)
    sparsifier = sparsify(model)
    seen = []
    model.policy.actor.optimizer.register_step_post_hook(
        lambda *_: seen.append(sparsifier.progress)
    )
    model.learn(80, callback=sparsifier.callback())
    # Two phases after 40 steps of warm-up, of ten actor updates each; the hook sees the last one's.
    assert seen == pytest.approx([index / 20 for index in range(20)])
    assert sparsifier.progress == 1.0


def test_a2c_run():
    model = A2C("MlpPolicy", Drift(), n_steps=8, **small())
    sparsifier = sparsify(model)
    model.learn(160, callback=[sparsifier.callback(), Watch(sparsifier)])
    assert sparsifier.updates == 20
    assert kept(sparsifier, "actor") == round(0.1 * weights(sparsifier, "actor"))


@pytest.mark.parametrize("train_freq", [(1, "episode"), (7, "step")])
def test_as_many_updates_as_steps(train_freq):
    model = off_policy(SAC, train_freq=train_freq, gradient_steps=-1)
    sparsifier = sparsify(model, Cubic(to=0.9, stop=1.0))
    model.learn(120, callback=sparsifier.callback())
    assert sparsifier.finished
    assert sparsifier.progress == 1.0


def test_several_environments():
    model = PPO("MlpPolicy", DummyVecEnv([Drift] * 3), n_steps=16, batch_size=16, **small())
    sparsifier = sparsify(model)
    model.learn(200, callback=sparsifier.callback())
    assert sparsifier.updates == 5 * 10 * 3
    assert sparsifier.progress == 1.0


def test_global_allocation_in_a_run():
    model = ppo()
    sparsifier = sparsify(model, allocate=global_)
    model.learn(300, callback=sparsifier.callback())
    assert kept(sparsifier, "actor") == round(0.1 * weights(sparsifier, "actor"))


def test_the_logger_gets_the_sparsity():
    model = off_policy(SAC)
    sparsifier = sparsify(model)
    logged = []

    class Read(BaseCallback):
        def _on_step(self):
            logged.append(dict(self.logger.name_to_value))
            return True

    model.learn(200, callback=[sparsifier.callback(), Read()], log_interval=1000)
    last = logged[-1]
    assert last["prune/sparsity"] == pytest.approx(sparsifier.sparsity())
    assert last["prune/sparsity_actor"] == pytest.approx(0.9, abs=2e-3)
    assert last["prune/sparsity_critic"] == pytest.approx(0.8, abs=2e-3)


def test_equal_seeds_give_equal_masks():
    def run():
        model = ppo()
        sparsifier = sparsify(model)
        model.learn(160, callback=sparsifier.callback())
        return sparsifier.masks

    first, second = run(), run()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_coarse_pattern_that_falls_short_of_nothing_is_final():
    class Half:
        """Keeps half of what it may: more sparsity than asked for."""

        def mask(self, scores, kept):
            order = scores.flatten().argsort(descending=True, stable=True)
            mask = torch.zeros(scores.numel(), dtype=torch.bool)
            mask[order[: max(1, kept // 2)]] = True
            return mask.view(scores.shape)

    model = ppo()
    sparsifier = sparsify(model, OneShot(to=0.5), pattern=Half())
    model.learn(64, callback=sparsifier.callback())
    assert sparsifier.sparsity() == pytest.approx(0.75, abs=0.01)
