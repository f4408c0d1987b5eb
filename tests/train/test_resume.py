"""Killed runs go on where they stopped."""

import signal
import subprocess
import sys
import time

import pytest
import torch

from sparseagent.train import stage as stage_module
from sparseagent.train.agent import actor_weights
from sparseagent.train.callbacks import Checkpoints
from sparseagent.train.checkpoint import newest_checkpoint
from sparseagent.train.folder import open_folder
from sparseagent.train.records import read_json, read_rows
from sparseagent.train.stage import Stage, load_model, load_statistics, sections_of, train_stage


def pruned_stage(config):
    sections = tuple(sections_of(config, "pruned"))
    return Stage("pruned", 0, config.pruned_timesteps, config.net_arch, sections)


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
        assert statistics.obs_rms.count >= config.total_timesteps


@pytest.mark.slow
def test_a_killed_process_is_resumed_by_the_same_command(tmp_path):
    """SIGKILL in the middle of pruning; the same command finishes what was begun."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "sparseagent.cli", "run", "--env", "CartPole-v1"]
    command += ["--sparsity", "0.95", "--steps", "8000", "--episodes", "5"]
    command += ["--checkpoint-seconds", "0", "--out", str(out)]

    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    newest = out / "state" / "checkpoints_pruned" / "newest"
    deadline = time.monotonic() + 240
    while not (newest.exists() and newest.read_text() >= "step_000000003000"):
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
