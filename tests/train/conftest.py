"""One torch thread, and one small finished run that several tests look at."""

import pytest
import torch

from sparseagent.train import configure, run
from sparseagent.train.progress import Display


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def quiet():
    return Display(quiet=True)


@pytest.fixture(scope="session")
def tiny_config():
    """A factory of CartPole runs that take seconds."""

    def make(out, **overrides):
        settings = {
            "sparsity": 0.9,
            "total_timesteps": 2048,
            "net_arch": (16, 16),
            "eval_episodes": 6,
            "hyperparameters": {"n_epochs": 4, "learning_rate": "lin_0.003"},
            "out": str(out),
            **overrides,
        }
        return configure("CartPole-v1", settings.pop("algo", "ppo"), **settings)

    return make


@pytest.fixture(scope="session")
def finished_run(tiny_config, tmp_path_factory):
    """Configuration and outcome of a complete run; do not write into its folder."""
    config = tiny_config(tmp_path_factory.mktemp("runs") / "demo")
    return config, run(config, display=Display(quiet=True), command="sparseagent run ...")
