"""Killed runs go on where they stopped."""

import io
import pickle
import signal
import subprocess
import sys
import time
from contextlib import ExitStack

import numpy as np
import pytest
import torch
from rich.console import Console
from stable_baselines3.common.callbacks import BaseCallback

from sparseagent.train import configure
from sparseagent.train import stage as stage_module
from sparseagent.train.agent import actor_weights, make_envs, make_model
from sparseagent.train.callbacks import Checkpoints
from sparseagent.train.checkpoint import newest_checkpoint
from sparseagent.train.folder import open_folder
from sparseagent.train.progress import Display
from sparseagent.train.records import read_json, read_rows
from sparseagent.train.stage import (
    Extras,
    Stage,
    load_model,
    load_statistics,
    sections_of,
    train_stage,
)
from sparseagent.train.world import load_world, save_world


def pruned_stage(config):
    sections = tuple(sections_of(config, "pruned"))
    return Stage("pruned", 0, config.pruned_timesteps, config.net_arch, sections)


def unpickled(folder, agent):
    """The whole `VecNormalize` of a finished agent."""
    return pickle.loads(folder.statistics(agent, 0).read_bytes())


class Killed(BaseException):
    """Stands for a kill: nothing of the project catches it."""


def kill_at(monkeypatch, timesteps):
    """Make a checkpoint at every rollout, and die after one at `timesteps` or later."""
    save = Checkpoints._on_rollout_start

    def save_and_die(self):
        self._due = 0.0
        save(self)
        if self.model.num_timesteps >= timesteps:
            raise Killed

    monkeypatch.setattr(Checkpoints, "_on_rollout_start", save_and_die)


@pytest.fixture(params=["ppo", "dqn"])
def config(request, tiny_config, tmp_path):
    """On-policy with normalised observations, off-policy with a replay buffer."""
    special = {
        "ppo": {"normalize": True},
        "dqn": {
            "total_timesteps": 600,
            "hyperparameters": {"learning_starts": 64, "train_freq": 8, "gradient_steps": 4},
        },
    }[request.param]
    return tiny_config(tmp_path / "run", algo=request.param, checkpoint_seconds=0.0, **special)


def test_a_stage_goes_on_from_its_checkpoint(config, quiet, monkeypatch):
    folder, _ = open_folder(config)
    stage = pruned_stage(config)
    with monkeypatch.context() as patched:
        kill_at(patched, config.total_timesteps // 2)
        with pytest.raises(Killed):
            train_stage(config, stage, folder, quiet)
    assert not folder.is_done("pruned", 0)
    checkpoint = newest_checkpoint(folder.checkpoints("pruned", 0))
    done = read_json(checkpoint / "facts.json")["timesteps"]
    assert config.total_timesteps // 2 <= done < config.total_timesteps
    saved = torch.load(checkpoint / "sparsifier.pt", weights_only=True)
    curve = read_rows(checkpoint / "curve.csv")

    resumed = stage_module._resume(config, stage, checkpoint)
    assert resumed.model.num_timesteps == done
    assert resumed.sparsifier.updates == saved["updates"]
    if config.algo == "dqn":
        assert resumed.model.replay_buffer.pos * resumed.model.n_envs == done

    assert train_stage(config, stage, folder, quiet)
    assert not train_stage(config, stage, folder, quiet)  # there is nothing left to do
    model = load_model(config, folder, "pruned", 0)
    assert config.total_timesteps <= model.num_timesteps < config.total_timesteps + 256
    weights = actor_weights(model.policy)
    total = sum(weight.numel() for weight in weights)
    assert sum(int((weight != 0).sum()) for weight in weights) == round(0.1 * total)
    rows = read_rows(folder.curve("pruned", 0))
    assert rows[: len(curve)] == curve
    assert len(rows) > len(curve)
    steps = [int(row["timesteps"]) for row in rows]
    assert steps == sorted(steps)
    assert not folder.checkpoints("pruned", 0).exists()
    if config.normalize:
        statistics = load_statistics(config, folder, "pruned", 0)
        saved = unpickled(folder, "pruned")
        assert saved.obs_rms.count >= config.total_timesteps
        assert np.array_equal(statistics.obs_rms.mean, saved.obs_rms.mean)
        observations = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32) * 3
        normalised = statistics.normalize_obs(observations)
        assert np.array_equal(normalised, saved.normalize_obs(observations))


EXACT = {
    "ppo": (
        "CartPole-v1",
        {
            **{"normalize": True, "n_envs": 2, "total_timesteps": 1024},
            "hyperparameters": {"n_steps": 64, "batch_size": 32, "learning_rate": "lin_0.003"},
        },
    ),
    "a2c": ("Acrobot-v1", {"total_timesteps": 600}),
    "sac": (
        "Pendulum-v1",
        {"normalize": True, "hyperparameters": {"learning_starts": 100, "gradient_steps": 1}},
    ),
    "td3": (
        "Pendulum-v1",
        {"hyperparameters": {"learning_starts": 100, "noise_type": "normal", "noise_std": 0.1}},
    ),
    "dqn": ("MountainCar-v0", {"hyperparameters": {"learning_starts": 100}}),
    "dqn in MinAtar": ("MinAtar/Breakout-v1", {"hyperparameters": {"learning_starts": 100}}),
}


@pytest.mark.parametrize("agent", ["dense", "pruned"])
@pytest.mark.parametrize("algo", EXACT)
def test_a_resumed_run_ends_with_the_bits_of_an_unbroken_one(
    algo, agent, quiet, monkeypatch, tmp_path
):
    env, special = EXACT[algo]
    algo, *package = algo.split(" in ")
    if package:
        pytest.importorskip(package[0].lower())
    states = []
    for name in ("whole", "broken"):
        settings = {"sparsity": 0.8, "total_timesteps": 400, "net_arch": (16, 16), **special}
        config = configure(
            env, algo, **settings, out=str(tmp_path / name), checkpoint_seconds=1000.0
        )
        folder, _ = open_folder(config)
        timesteps = config.pruned_timesteps
        stage = Stage(agent, 0, timesteps, config.net_arch, ((agent, timesteps),))
        if name == "broken":
            with monkeypatch.context() as patched:
                kill_at(patched, timesteps // 2)
                with pytest.raises(Killed):
                    train_stage(config, stage, folder, quiet)
            torch.manual_seed(99)
        assert train_stage(config, stage, folder, quiet)
        assert folder.facts(agent, 0)["resumed"] is False
        model = load_model(config, folder, agent, 0)
        episodes = [(r["timesteps"], r["return"]) for r in read_rows(folder.curve(agent, 0))]
        saved = unpickled(folder, agent) if config.normalize else None
        states.append((model.policy.state_dict(), episodes, saved))
    (whole, rows, statistics), (broken, again, restored) = states
    assert all(torch.equal(whole[key], broken[key]) for key in whole)
    assert rows == again
    if statistics is not None:
        assert np.array_equal(statistics.obs_rms.mean, restored.obs_rms.mean)
        assert statistics.ret_rms.var == restored.ret_rms.var


def test_a_mujoco_world_goes_on_with_the_same_bits(tmp_path):
    pytest.importorskip("mujoco")
    config = configure("Hopper-v5", "a2c", normalize=True, n_envs=1, out=str(tmp_path))
    models = [make_model(config, make_envs(config, seed), seed) for seed in (0, 1)]
    actions = np.random.default_rng(0).uniform(-1, 1, (300, 1, 3)).astype(np.float32)
    first, second = (model.get_env() for model in models)
    first.reset()
    for action in actions[:100]:
        first.step(action)
    saved, unsaved = save_world(models[0])
    assert not unsaved
    second.reset()
    load_world(models[1], saved)
    ends = 0
    for action in actions[100:]:
        one, other = first.unwrapped.step(action), second.unwrapped.step(action)
        for mine, yours in zip(one[:3], other[:3], strict=True):
            assert np.array_equal(mine, yours)
        ends += bool(one[2][0])
    assert ends > 1


class Counting(BaseCallback):
    """A callback whose count is in no checkpoint."""

    def _on_step(self):
        return True


INEXACT = {
    "environment": ("LunarLander-v3", {}, (), "the state of LunarLander cannot be saved (cannot"),
    "noise": (
        "Pendulum-v1",
        {"hyperparameters": {"use_sde": True}},
        (),
        "the noise of state-dependent exploration cannot be saved",
    ),
    "callback": ("CartPole-v1", {}, (Counting,), "callbacks know is in no checkpoint (Counting)"),
}


@pytest.mark.parametrize("what", INEXACT)
def test_what_no_checkpoint_can_hold_is_told_and_written_down(what, monkeypatch, tmp_path):
    env, special, callbacks, reason = INEXACT[what]
    if what == "environment":
        pytest.importorskip("Box2D")
    config = configure(
        env, "a2c", total_timesteps=600, net_arch=(8,), out=str(tmp_path / "run"), **special
    )
    folder, _ = open_folder(config)
    stage = Stage("dense", 0, 600, config.net_arch, (("dense", 600),))
    console = Console(file=io.StringIO(), width=300)
    # Once inexact, always inexact: the second time it is read from the checkpoint.
    for at in (100, 300, None):
        extras = Extras(tuple(make() for make in callbacks) if at != 300 else ())
        with monkeypatch.context() as patched, ExitStack() as stack:
            if at is not None:
                kill_at(patched, at)
                stack.enter_context(pytest.raises(Killed))
            train_stage(config, stage, folder, Display(console), extras)
    assert folder.facts("dense", 0)["resumed"] is True
    lines = [line for line in console.file.getvalue().splitlines() if "without a break" in line]
    assert lines
    assert all(reason in line for line in lines)


@pytest.mark.slow
def test_a_killed_process_is_resumed_by_the_same_command(tmp_path):
    """SIGKILL in the middle of pruning; the same command finishes what was begun."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "sparseagent.cli", "run", "--env", "CartPole-v1"]
    command += ["--sparsity", "0.95", "--steps", "8000", "--episodes", "5"]
    command += ["--checkpoint-seconds", "0", "--out", str(out)]

    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    checkpoints = out / "state" / "checkpoints_pruned"
    deadline = time.monotonic() + 240
    # With its facts, written last, a checkpoint counts.
    while not any(
        facts.parent.name >= "step_000000003000" for facts in checkpoints.glob("step_*/facts.json")
    ):
        assert process.poll() is None, process.stdout.read().decode()
        assert time.monotonic() < deadline, "no checkpoint of the pruned agent within 4 minutes"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (out / "state" / "dense.done").exists()
    assert not (out / "state" / "pruned.done").exists()
    dense = (out / "dense.zip").stat().st_mtime_ns

    finished = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "the dense agent (seed 0) is trained already" in finished.stdout
    first = int(
        finished.stdout.split("resuming pruned (seed 0) at step ")[1].split()[0].replace(",", "")
    )
    assert 3000 <= first < 8000
    assert (out / "dense.zip").stat().st_mtime_ns == dense
    rows = {row["agent"]: row for row in read_rows(out / "agents.csv")}
    assert rows["pruned"]["kept"] == "224"
    assert rows["pruned"]["reached"] == "True"
    assert "return IQM [95 % interval]" in finished.stdout
    assert str(out / "report.md") in finished.stdout
