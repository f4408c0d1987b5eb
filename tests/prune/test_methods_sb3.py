"""Every method while the algorithms of Stable-Baselines3 learn."""

import pytest
import torch
from sb3_runs import dqn, kept, off_policy, ppo, weights
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback

from sparseagent import prune

METHODS = {
    "static": {"score": prune.Random(0), "schedule": prune.OneShot(to=0.9)},
    "set": {
        "score": prune.Magnitude(),
        "schedule": prune.OneShot(to=0.9),
        "initial": prune.Random(0),
        "grow": prune.RandomGrowth(0),
        "drop": prune.CosineDrop(0.5),
    },
    "rigl": {
        "score": prune.Magnitude(),
        "schedule": prune.OneShot(to=0.9),
        "initial": prune.Random(0),
        "grow": prune.GradientGrowth(),
        "drop": prune.CosineDrop(0.5),
    },
    "snip": {"score": prune.Snip(), "schedule": prune.OneShot(to=0.9, at=0.05)},
    "taylor": {"score": prune.Taylor(), "schedule": prune.Cubic(to=0.9)},
    "movement": {"score": prune.Movement(), "schedule": prune.Cubic(to=0.9)},
    "fisher": {"score": prune.Fisher(), "schedule": prune.Cubic(to=0.9)},
    "lamp": {
        "score": prune.Magnitude(),
        "schedule": prune.Cubic(to=0.9),
        "allocate": prune.lamp,
    },
}


class Zeros(BaseCallback):
    """Checks that pruned weights, and those of the target networks, are zero at every step."""

    def __init__(self, sparsifier):
        super().__init__()
        self.sparsifier = sparsifier
        self.masks = []

    def _on_step(self):
        state = self.model.policy.state_dict()
        masks = self.sparsifier.masks
        for name, mask in masks.items():
            network, rest = name.split(".", 1)
            assert not state[name][~mask].any()
            assert not state.get(f"{network}_target.{rest}", state[name])[~mask].any()
        if not self.masks or any(not torch.equal(masks[n], self.masks[-1][n]) for n in masks):
            self.masks.append(masks)
        return True


def run(make, method):
    model = make()
    sparsifier = prune.Sparsifier(model.policy, **METHODS[method])
    zeros = Zeros(sparsifier)
    model.learn(320, callback=[sparsifier.callback(), zeros])
    return sparsifier, zeros


@pytest.mark.parametrize("make", [ppo, dqn, lambda: off_policy(SAC)], ids=["ppo", "dqn", "sac"])
@pytest.mark.parametrize("method", METHODS)
def test_a_run(make, method):
    sparsifier, zeros = run(make, method)
    assert sparsifier.finished
    for part, final in sparsifier.final_sparsity.items():
        assert kept(sparsifier, part) == round((1 - final) * weights(sparsifier, part))
    grew = any(
        bool((after[name] & ~before[name]).any())
        for before, after in zip(zeros.masks, zeros.masks[1:], strict=False)
        for name in after
    )
    assert grew == (method in ("set", "rigl"))
    if method == "static":
        assert len(zeros.masks) == 1


@pytest.mark.parametrize("method", ["set", "rigl", "taylor"])
def test_equal_seeds_give_equal_masks(method):
    first, second = run(ppo, method)[0].masks, run(ppo, method)[0].masks
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_resumed_dqn_repeats_the_unbroken_one(tmp_path):
    """RigL in pieces, saved with all it has observed in between."""

    def pieces(reload):
        model = dqn(exploration_fraction=0.01, exploration_final_eps=0.0)
        sparsifier = prune.Sparsifier(model.policy, **METHODS["rigl"])
        for _ in range(2):
            model.learn(160, reset_num_timesteps=False, callback=sparsifier.callback(320))
            if reload:
                torch.save(sparsifier.state_dict(), tmp_path / "state.pt")
                sparsifier = prune.Sparsifier(model.policy, **METHODS["rigl"])
                state = torch.load(tmp_path / "state.pt", weights_only=True)
                sparsifier.load_state_dict(state)
        return sparsifier.masks

    whole, broken = pieces(False), pieces(True)
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
