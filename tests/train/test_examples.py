"""The examples run, with tiny sizes, as a user runs them."""

import subprocess
import sys
from pathlib import Path

import pytest

import sparseagent as sa

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


def run_example(name, *arguments):
    finished = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("examples") / "cartpole.safetensors"
    text = run_example("train_and_prune.py", "--steps", 1024, "--episodes", 4, "--out", out)
    return out, text


def test_train_and_prune(trained):
    out, text = trained
    policy = sa.load(out)
    assert policy.nnz <= 224  # 0.05 of 4-64-64-2, dead neurons removed
    assert policy.metadata["environment"] == "CartPole-v1"
    assert "CartPole-v1: return" in text


def test_deploy_needs_no_torch(trained):
    out, _ = trained
    text = run_example("deploy.py", out, "--decisions", 50)
    assert "µs a decision" in text


def test_custom_loop(tmp_path):
    out = tmp_path / "custom.safetensors"
    text = run_example("custom_loop.py", "--updates", 12, "--episodes", 3, "--out", out)
    policy = sa.load(out)
    assert policy.nnz <= 448  # 0.1 of 4-64-64-2, dead neurons removed
    assert "sparsity 0.000" in text
