"""Learning in several calls: interrupted, resumed, fine-tuned, saved."""

import copy

import pytest
import torch
from sb3_runs import (
    Watch,
    dqn,
    ppo,
    sparsify,
)
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from sparseagent.prune import Cubic, OneShot


class Kill(BaseCallback):
    def __init__(self, at):
        super().__init__()
        self.at = at

    def _on_step(self):
        if self.num_timesteps == self.at:
            raise KeyboardInterrupt
        return True


@pytest.mark.parametrize("make", [ppo, dqn])
def test_a_killed_run_goes_on(make, tmp_path):
    """The ramp of a resumed run is that of an unbroken one, and the zeros are saved."""
    unbroken = make()
    reference = sparsify(unbroken, every=1)
    whole = Watch(reference)
    unbroken.learn(320, callback=[reference.callback(), whole])

    model = make()
    sparsifier = sparsify(model, every=1)
    with pytest.raises(KeyboardInterrupt):
        # 192 is the end of a rollout of both: nothing collected is lost.
        model.learn(320, callback=[sparsifier.callback(), Kill(193)])
    model.num_timesteps = 192
    model.save(tmp_path / "model.zip")
    torch.save(sparsifier.state_dict(), tmp_path / "sparsifier.pt")
    before = sparsifier.masks
    assert 0.0 < sparsifier.sparsity() < 0.9

    loaded = type(model).load(tmp_path / "model.zip", env=model.get_env(), device="cpu")
    resumed = sparsify(loaded, every=1)
    resumed.load_state_dict(torch.load(tmp_path / "sparsifier.pt", weights_only=True))
    assert resumed.updates == sparsifier.updates
    assert resumed.start_timestep == sparsifier.start_timestep
    if make is dqn:
        # The replay buffer is not part of the zip.
        loaded.replay_buffer = model.replay_buffer
    rest = Watch(resumed)
    loaded.learn(320 - 192, reset_num_timesteps=False, callback=[resumed.callback(), rest])
    assert resumed.finished
    assert rest.path == [(steps, sparsity) for steps, sparsity in whole.path if steps > 192]
    assert not any((resumed.masks[name] & ~before[name]).any() for name in before)


def test_an_interrupted_call_can_be_repeated():
    model = ppo()
    sparsifier = sparsify(model)
    with pytest.raises(KeyboardInterrupt):
        model.learn(320, callback=[sparsifier.callback(), Kill(193)])
    model.learn(320, callback=[sparsifier.callback(), Watch(sparsifier)])
    assert sparsifier.finished
    # 6 phases before the interrupt and 10 after it: nothing is counted twice.
    assert sparsifier.updates == 16 * 6


def test_learning_in_pieces():
    model = ppo()
    sparsifier = sparsify(model, lambda progress: 0.9 * progress)
    for _ in range(4):
        assert not sparsifier.finished
        model.learn(64, reset_num_timesteps=False, callback=sparsifier.callback(256))
    assert sparsifier.finished
    assert sparsifier.progress == 1.0


def test_dense_training_first():
    model = ppo()
    model.learn(96)
    sparsifier = sparsify(model, OneShot(to=0.9, at=0.5))
    watch = Watch(sparsifier)
    model.learn(128, reset_num_timesteps=False, callback=[sparsifier.callback(), watch])
    changed = [steps for steps, sparsity in watch.path if sparsity > 0]
    assert changed[0] == 96 + 64 + 1


def test_fine_tuning_under_the_frozen_mask():
    model = ppo()
    sparsifier = sparsify(model, Cubic(to=0.9))
    model.learn(96, callback=sparsifier.callback(160))
    sparsifier.freeze()
    masks = sparsifier.masks
    model.learn(96, callback=[sparsifier.callback(), Watch(sparsifier)])
    assert 0.0 < sparsifier.sparsity() < 0.9
    assert all(torch.equal(masks[name], mask) for name, mask in sparsifier.masks.items())


def test_learning_on_after_the_end_keeps_the_masks():
    model = ppo()
    sparsifier = sparsify(model)
    callback = sparsifier.callback()
    model.learn(96, callback=callback)
    masks = sparsifier.masks
    model.learn(96, callback=[callback, Watch(sparsifier)])
    assert all(torch.equal(masks[name], mask) for name, mask in sparsifier.masks.items())


def test_the_policy_can_be_copied_and_saved_while_it_learns(tmp_path):
    model = ppo()
    sparsifier = sparsify(model)
    keys = list(model.policy.state_dict())

    class Save(BaseCallback):
        def _on_step(self):
            if self.num_timesteps == 250:
                model.save(tmp_path / "model.zip")
                self.copy = copy.deepcopy(model.policy)
                self.masks = sparsifier.masks
            return True

    save = Save()
    model.learn(320, callback=[sparsifier.callback(), save])
    loaded = PPO.load(tmp_path / "model.zip", device="cpu").policy
    assert list(loaded.state_dict()) == list(save.copy.state_dict()) == keys
    for name, mask in save.masks.items():
        assert not mask.all()
        assert not loaded.state_dict()[name][~mask].any()
        assert torch.equal(loaded.state_dict()[name], save.copy.state_dict()[name])
    assert not save.copy.optimizer._optimizer_step_post_hooks
